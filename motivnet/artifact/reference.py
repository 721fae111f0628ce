"""The reference of an artifact: a few inputs with PyTorch's FP32 outputs, so that a device without torch can judge."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.array_files import read_arrays
from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ArtifactError, FileError

REFERENCE_FILE = "reference.npz"

MAX_IMAGES = 16
"""Four times as many as a build keeps; an image of the published size takes 2.4 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSet:
    """Pixels at the model's size ``(N, H, W, 3)``, FP32 logits ``(N, classes)`` and embeddings ``(N, width)``."""

    pixels: NDArray[np.uint8]
    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The content of ``reference.npz``."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, pixels=self.pixels, logits=self.logits, embedding=self.embedding
        )
        return buffer.getvalue()


def reference_of_artifact(artifact: Artifact) -> ReferenceSet:
    """The reference that lies in an artifact, its hash and its shapes checked.

    Raises:
        ArtifactError: If there is none, or it is not what the manifest's model gives.
    """
    manifest = artifact.manifest
    if manifest.reference is None:
        raise ArtifactError(
            f"{artifact.folder} holds no reference outputs to compare with; build it again with: motivnet-export build"
        )
    data, max_bytes = artifact.file_bytes(manifest.reference), MAX_IMAGES * _image_bytes(manifest)
    try:
        arrays = read_arrays(data, names=("pixels", "logits", "embedding"), max_bytes=max_bytes)
    except FileError as error:
        raise ArtifactError(
            f"{manifest.reference} is not a reference: it {error}; build the artifact again"
        ) from error
    reference = ReferenceSet(**arrays)
    _check(reference, manifest)
    return reference


def _image_bytes(manifest: Manifest) -> int:
    """What an image and its outputs take at most, with a share of the headers of the three arrays."""
    height, width = manifest.input.recipe.size
    outputs = len(manifest.labels) + manifest.source.config.encoder.embed_dim
    return 3 * height * width + 4 * outputs + 512


def _check(reference: ReferenceSet, manifest: Manifest) -> None:
    images = len(reference.pixels)
    wanted = {
        "pixels": (np.dtype(np.uint8), (images, *manifest.input.recipe.size, 3)),
        "logits": (np.dtype(np.float32), (images, len(manifest.labels))),
        "embedding": (np.dtype(np.float32), (images, manifest.source.config.encoder.embed_dim)),
    }
    for name, (dtype, shape) in wanted.items():
        array = getattr(reference, name)
        if images < 1 or array.dtype != dtype or array.shape != shape:
            raise ArtifactError(
                f"{name} of the reference should be {dtype} {shape}, not {array.dtype} {array.shape}"
            )
