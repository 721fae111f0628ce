"""How a process of a cluster reads images: options that can be sent to it, and its classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError
from motivnet.images import USER_LIMITS, ImageLimits
from motivnet.schema import Schema
from motivnet_engines.faces import open_detector
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.registry import check_names, check_possible
from motivnet_engines.runtimes.selection import default_runtime

_Count = Annotated[int, msgspec.Meta(ge=1)]


class ReadingOptions(Schema, frozen=True, kw_only=True):
    """What each worker opens and returns.

    Faces are found with YuNet, or with the ``detector`` file; with ``no_detect`` each image is one
    face. ``threads`` are those of the runtime, and should not exceed the cores that Ray gives a
    worker. With ``trust_engines`` a worker may choose an engine that its machine's user did not
    build there.

    Raises:
        ConfigError: If there is a detector that would not be used.
    """

    artifact: str
    runtime: str | None = None
    trust_engines: bool = False
    threads: _Count | None = None
    batch_size: _Count | None = None
    no_detect: bool = False
    detector: str | None = None
    unknown: bool = False
    adapted_classes: str | None = None
    embeddings: bool = False
    limits: ImageLimits = USER_LIMITS

    def __post_init__(self) -> None:
        if self.no_detect and self.detector is not None:
            raise ConfigError("no_detect needs no detector; leave out one of them")

    def for_workers(self, *, cpus: float) -> ReadingOptions:
        """Return the options with absolute paths, and no more threads than a worker has cores."""
        return msgspec.structs.replace(
            self,
            artifact=str(Path(self.artifact).absolute()),
            detector=_absolute(self.detector),
            adapted_classes=_absolute(self.adapted_classes),
            threads=max(1, int(cpus)) if self.threads is None else self.threads,
        )


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def check_reading(options: ReadingOptions, *, gpus: float) -> None:
    """Check artifact, runtime and face detector before workers are started.

    An error is then reported once, and immediately. The graph is left to the workers, and so is
    a runtime if they have GPUs, which this machine need not have.

    Raises:
        MotivNetError: As ``open_artifact``, ``open_detector``, ``default_runtime`` and
            ``check_possible``.
    """
    artifact = open_artifact(options.artifact)
    if options.runtime is not None:
        check_names([options.runtime])
    if not gpus:
        name = options.runtime or default_runtime(artifact, trust_engines=options.trust_engines)
        check_possible(name, artifact.manifest)
    _open_detector(options)


def open_classifier(options: ReadingOptions) -> EmotionClassifier:
    """Open a classifier as the options say.

    Raises:
        MotivNetError: As ``EmotionClassifier.open`` and ``open_detector``.
    """
    return EmotionClassifier.open(
        options.artifact,
        runtime=options.runtime,
        trust_engines=options.trust_engines,
        threads=options.threads,
        batch_size=options.batch_size,
        detector=_open_detector(options),
        unknown=options.unknown,
        adapted_classes=options.adapted_classes,
        limits=options.limits,
    )


def _open_detector(options: ReadingOptions) -> FaceDetector | None:
    if options.no_detect:
        return None
    return open_detector(None if options.detector is None else Path(options.detector))
