"""The learnt classes of an artifact as a file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.array_files import MAX_BYTES, npz_from, read_npz
from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Manifest
from motivnet.artifact.model_identity import ModelIdentity, identity_of_model
from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.files import read_bytes, write_atomic
from motivnet.labels import is_label
from motivnet.prediction import UNKNOWN
from motivnet_engines.inference.mixture import Mixture
from motivnet_engines.inference.mixture_head import MixtureReadout
from motivnet_engines.inference.whitening import Whitening

_ARRAYS = ("mean", "matrix", "weights", "means", "variances")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesFacts:
    """The classes in output order, with the images and the components of each, and the model they
    stand on.

    ``best`` is the highest accuracy of each that was measured on validation images, None where none
    was.
    """

    format_version: Literal[1] = 1
    model: ModelIdentity
    labels: tuple[str, ...]
    images: tuple[int, ...]
    components: tuple[int, ...]
    best: tuple[float | None, ...]
    temperature: float

    def __post_init__(self) -> None:
        if (
            len(self.labels) < 2
            or len(set(self.labels)) != len(self.labels)
            or UNKNOWN in self.labels
        ):
            raise ConfigError("the classes must be two or more, with names of their own")
        if not all(map(is_label, self.labels)):
            raise ConfigError("the names of the classes must be short printable texts")
        if not len(self.labels) == len(self.images) == len(self.components) == len(self.best):
            raise ConfigError(
                "there must be one number of images and of components, and one accuracy, for each class"
            )
        if min(*self.images, *self.components) < 1 or self.temperature <= 0:
            raise ConfigError(
                "numbers of images and components and the temperature must be positive"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LearntClasses:
    """The readout of a file of classes, and the best accuracy of each class that has one."""

    readout: MixtureReadout
    best: dict[str, float]


def default_path(folder: Path) -> Path:
    """Where the classes of the artifact in a folder lie: beside it, because a file more would make it another one."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}.classes.npz")


def write_classes(classes: LearntClasses, path: Path, *, manifest: Manifest) -> None:
    """Writes the classes of a model, which tell of people, to a file of this user alone, whole or
    not at all.

    Raises:
        FileError: If it cannot be written.
    """
    readout, mixtures = classes.readout, classes.readout.mixtures
    facts = ClassesFacts(
        model=identity_of_model(manifest),
        labels=readout.labels,
        images=tuple(mixture.images for mixture in mixtures),
        components=tuple(len(mixture.weights) for mixture in mixtures),
        best=tuple(classes.best.get(label) for label in readout.labels),
        temperature=readout.temperature,
    )
    arrays = {
        "mean": readout.whitening.mean,
        "matrix": readout.whitening.matrix,
        "weights": np.concatenate([mixture.weights for mixture in mixtures]),
        "means": np.concatenate([mixture.means for mixture in mixtures]),
        "variances": np.concatenate([mixture.variances for mixture in mixtures]),
    }
    write_atomic(path, npz_from(facts, arrays), private=True)


def readout_from_file(path: Path, artifact: Artifact) -> MixtureReadout:
    """The readout of the classes in a file that ``motivnet adapt`` wrote for this artifact's model.

    Raises:
        MotivNetError: As ``classes_from_file``.
    """
    return classes_from_file(path, artifact).readout


def classes_from_file(path: Path, artifact: Artifact) -> LearntClasses:
    """The classes in a file that ``motivnet adapt`` wrote for this artifact's model.

    Raises:
        FileError: If there is no such file, or it is not one of classes.
        ArtifactError: If its classes stand on another model.
    """
    data = read_bytes(path, max_bytes=MAX_BYTES)
    try:
        facts, arrays = read_npz(data, ClassesFacts, names=_ARRAYS)
        _check_values(facts, arrays)
    except FileError as error:
        raise FileError(f"{path} {error}; make it with: motivnet adapt") from error
    if facts.model != identity_of_model(artifact.manifest) or len(arrays["mean"]) != _features(
        artifact.manifest
    ):
        raise ArtifactError(
            f"the classes in {path} were learnt with another model than that of {artifact.folder}; "
            "learn them again with: motivnet adapt"
        )
    readout = MixtureReadout(
        labels=facts.labels,
        whitening=Whitening(mean=arrays["mean"], matrix=arrays["matrix"]),
        mixtures=_mixtures(facts, arrays),
        temperature=facts.temperature,
    )
    best = {
        label: share
        for label, share in zip(facts.labels, facts.best, strict=True)
        if share is not None
    }
    return LearntClasses(readout=readout, best=best)


def _features(manifest: Manifest) -> int:
    return manifest.source.config.encoder.embed_dim + len(manifest.labels)


def _mixtures(facts: ClassesFacts, arrays: dict[str, NDArray[np.float32]]) -> tuple[Mixture, ...]:
    edges = [0, *np.cumsum(facts.components).tolist()]
    return tuple(
        Mixture(
            images=images,
            weights=arrays["weights"][start:end],
            means=arrays["means"][start:end],
            variances=arrays["variances"][start:end],
        )
        for images, (start, end) in zip(facts.images, pairwise(edges), strict=True)
    )


def _check_values(facts: ClassesFacts, arrays: dict[str, NDArray[np.float32]]) -> None:
    count, width = sum(facts.components), arrays["mean"].size
    wanted = {
        "mean": (width,),
        "matrix": (width, width),
        "weights": (count,),
        "means": (count, width),
        "variances": (count, width),
    }
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise FileError(
                f"cannot be used: {name} has the shape {arrays[name].shape} and not {shape}"
            )
    if arrays["weights"].min() <= 0 or arrays["variances"].min() <= 0:
        raise FileError("cannot be used: a weight or a variance is not positive")
