"""How a process of a cluster reads images: a value that can be sent to it, and the classifier that it opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError
from motivnet_engines.faces import open_detector
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.registry import check_names, check_possible, default_runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How each worker reads images: what it opens, and what it gives.

    Faces are found with YuNet, or with the ``detector`` file; with ``no_detect`` each image is one
    face. ``threads`` are those of the runtime; Ray gives a worker the cores, and this should not
    exceed them.

    Raises:
        ConfigError: If there is a detector that is not to be used.
    """

    artifact: str
    runtime: str | None = None
    trust_engines: bool = False
    threads: int | None = None
    batch_size: int | None = None
    no_detect: bool = False
    detector: str | None = None
    unknown: bool = False
    classes: str | None = None
    embeddings: bool = False

    def __post_init__(self) -> None:
        if self.no_detect and self.detector is not None:
            raise ConfigError("no_detect needs no detector; leave out one of them")


def options_for_workers(options: ReadingOptions, *, cpus: float) -> ReadingOptions:
    """With paths that mean the same in another working directory, and no more threads than a worker has cores."""
    return replace(
        options,
        artifact=str(Path(options.artifact).absolute()),
        detector=None if options.detector is None else str(Path(options.detector).absolute()),
        classes=None if options.classes is None else str(Path(options.classes).absolute()),
        threads=max(1, int(cpus)) if options.threads is None else options.threads,
    )


def check_reading(options: ReadingOptions, *, gpus: float) -> None:
    """Opens the artifact's manifest and the face detector, and looks for the runtime, before
    workers are started.

    What they would say of them is said once then, and at once. The graph is left to the workers,
    and so is a runtime where they have GPUs, which this machine need not have.

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
    _opened_detector(options)


def opened_classifier(options: ReadingOptions) -> EmotionClassifier:
    """A classifier as the options say.

    Raises:
        MotivNetError: As ``EmotionClassifier.open`` and ``open_detector``.
    """
    return EmotionClassifier.open(
        options.artifact,
        runtime=options.runtime,
        trust_engines=options.trust_engines,
        threads=options.threads,
        batch_size=options.batch_size,
        detector=_opened_detector(options),
        unknown=options.unknown,
        classes=options.classes,
    )


def _opened_detector(options: ReadingOptions) -> FaceDetector | None:
    if options.no_detect:
        return None
    return open_detector(None if options.detector is None else Path(options.detector))
