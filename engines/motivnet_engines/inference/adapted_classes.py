"""The classes that ``motivnet adapt`` fitted to an artifact's model, stored as a file beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.array_files import MAX_BYTES, decode_npz, encode_npz
from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Manifest, ModelIdentity
from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.files import read_bytes, write_atomic
from motivnet.labels import is_label
from motivnet.prediction import UNKNOWN
from motivnet.schema import Schema
from motivnet_engines.inference.class_statistics import Whitening
from motivnet_engines.inference.heads import Mixture, MixtureHead

_ARRAYS = ("mean", "matrix", "weights", "means", "variances")
_Count = Annotated[int, msgspec.Meta(ge=1)]


class AdaptedClassesMetadata(Schema, frozen=True, kw_only=True):
    """The classes in output order, with images and components of each, and the model below them.

    ``best`` is the highest accuracy of each class that was measured on held-out images, None for
    a class without a measurement.
    """

    format_version: Literal[1] = 1
    model: ModelIdentity
    labels: tuple[str, ...]
    images: tuple[_Count, ...]
    components: tuple[_Count, ...]
    best: tuple[float | None, ...]
    temperature: Annotated[float, msgspec.Meta(gt=0)]

    def __post_init__(self) -> None:
        count = len(self.labels)
        if count < 2 or len(set(self.labels)) != count or UNKNOWN in self.labels:
            raise ConfigError("there must be two or more classes, with different names")
        if not all(map(is_label, self.labels)):
            raise ConfigError("the names of the classes must be short printable texts")
        if {len(self.images), len(self.components), len(self.best)} != {count}:
            raise ConfigError(
                "each class must have one number of images, one of components and one accuracy"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptedClasses:
    """The head of a file of classes, and the best accuracy of each class that was measured."""

    head: MixtureHead
    best: dict[str, float]


def default_path(folder: Path) -> Path:
    """Return where an artifact's classes are kept: beside it, because a file inside changes it."""
    folder = Path(os.path.realpath(folder))
    return folder.with_name(f"{folder.name}.classes.npz")


def write_adapted_classes(classes: AdaptedClasses, path: Path, *, manifest: Manifest) -> None:
    """Write the classes of a model whole or not at all, readable for this user alone.

    Raises:
        FileError: If the file cannot be written.
    """
    head, mixtures = classes.head, classes.head.mixtures
    metadata = AdaptedClassesMetadata(
        model=manifest.model_identity(),
        labels=head.labels,
        images=tuple(mixture.images for mixture in mixtures),
        components=tuple(len(mixture.weights) for mixture in mixtures),
        best=tuple(classes.best.get(label) for label in head.labels),
        temperature=head.temperature,
    )
    arrays = {
        "mean": head.whitening.mean,
        "matrix": head.whitening.matrix,
        "weights": np.concatenate([mixture.weights for mixture in mixtures]),
        "means": np.concatenate([mixture.means for mixture in mixtures]),
        "variances": np.concatenate([mixture.variances for mixture in mixtures]),
    }
    write_atomic(path, encode_npz(metadata, arrays), private=True)


def read_adapted_classes(path: Path, artifact: Artifact) -> AdaptedClasses:
    """Return the classes that ``motivnet adapt`` wrote for this artifact's model.

    Raises:
        FileError: If there is no such file, or it is not one of classes.
        ArtifactError: If its classes belong to another model.
    """
    data = read_bytes(path, max_bytes=MAX_BYTES)
    try:
        metadata, arrays = decode_npz(data, AdaptedClassesMetadata, names=_ARRAYS)
        _check_arrays(metadata, arrays)
    except FileError as error:
        raise FileError(f"{path} {error}; make it with: motivnet adapt") from error
    manifest = artifact.manifest
    features = manifest.source.config.encoder.embed_dim + len(manifest.labels)
    if metadata.model != manifest.model_identity() or len(arrays["mean"]) != features:
        raise ArtifactError(
            f"the classes in {path} were learnt with another model than that of {artifact.folder}; "
            "learn them again with: motivnet adapt"
        )
    head = MixtureHead(
        labels=metadata.labels,
        whitening=Whitening(mean=arrays["mean"], matrix=arrays["matrix"]),
        mixtures=_mixtures(metadata, arrays),
        temperature=metadata.temperature,
    )
    measured = zip(metadata.labels, metadata.best, strict=True)
    return AdaptedClasses(
        head=head, best={label: share for label, share in measured if share is not None}
    )


def _mixtures(
    metadata: AdaptedClassesMetadata, arrays: dict[str, NDArray[np.float32]]
) -> tuple[Mixture, ...]:
    edges = [0, *np.cumsum(metadata.components).tolist()]
    return tuple(
        Mixture(
            images=images,
            weights=arrays["weights"][start:end],
            means=arrays["means"][start:end],
            variances=arrays["variances"][start:end],
        )
        for images, (start, end) in zip(metadata.images, pairwise(edges), strict=True)
    )


def _check_arrays(metadata: AdaptedClassesMetadata, arrays: dict[str, NDArray[np.float32]]) -> None:
    count, width = sum(metadata.components), arrays["mean"].size
    shapes = {
        "mean": (width,),
        "matrix": (width, width),
        "weights": (count,),
        "means": (count, width),
        "variances": (count, width),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise FileError(
                f"cannot be used: {name} has the shape {arrays[name].shape} and not {shape}"
            )
    if arrays["weights"].min() <= 0 or arrays["variances"].min() <= 0:
        raise FileError("cannot be used: a weight or a variance is not positive")
