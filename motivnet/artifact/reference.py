"""The reference of an artifact: a few inputs with PyTorch's FP32 outputs.

A device without torch compares its own outputs with them.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.array_files import read_arrays
from motivnet.artifact import Artifact
from motivnet.errors import ArtifactError, FileError

REFERENCE_FILE = "reference.npz"

MAX_IMAGES = 16
"""Four times as many as a build writes; an image of the published size takes 2.4 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSet:
    """Inputs and FP32 outputs of N images.

    Attributes:
        pixels: ``(N, H, W, 3)`` at the model's size.
        logits: ``(N, classes)``.
        embedding: ``(N, width)``.
    """

    pixels: NDArray[np.uint8]
    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Return the content of ``reference.npz``."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **asdict(self))
        return buffer.getvalue()


def read_reference(artifact: Artifact) -> ReferenceSet:
    """Return the reference in an artifact, its hash and its shapes checked.

    Raises:
        ArtifactError: If there is none, or it is not what the manifest's model gives.
    """
    manifest = artifact.manifest
    if manifest.reference is None:
        raise ArtifactError(
            f"{artifact.folder} holds no reference outputs to compare with; "
            "build it again with: motivnet-export build"
        )
    (height, width), labels = manifest.input.preprocessing.size, len(manifest.labels)
    features = manifest.source.config.encoder.embed_dim
    # The pixels and outputs of each image, and a share of the headers of the three arrays.
    image_bytes = 3 * height * width + 4 * (labels + features) + 512
    data = artifact.file_bytes(manifest.reference)
    try:
        arrays = read_arrays(
            data, names=("pixels", "logits", "embedding"), max_bytes=MAX_IMAGES * image_bytes
        )
    except FileError as error:
        raise ArtifactError(
            f"{manifest.reference} is not a reference: it {error}; build the artifact again"
        ) from error
    images = len(arrays["pixels"])
    wanted = {
        "pixels": (np.dtype(np.uint8), (images, height, width, 3)),
        "logits": (np.dtype(np.float32), (images, labels)),
        "embedding": (np.dtype(np.float32), (images, features)),
    }
    for name, (dtype, shape) in wanted.items():
        array = arrays[name]
        if images < 1 or array.dtype != dtype or array.shape != shape:
            raise ArtifactError(
                f"{name} of the reference should be {dtype} {shape}, "
                f"not {array.dtype} {array.shape}"
            )
    return ReferenceSet(**arrays)
