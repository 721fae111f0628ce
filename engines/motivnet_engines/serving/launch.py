"""From an artifact's folder to a service that runs: the classifier, what batches it can prove, and where it listens."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette

from motivnet.artifact import open_artifact
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.faces.detector import Face, FaceDetector
from motivnet_engines.serving.app import create_app
from motivnet_engines.serving.batching import batching_for
from motivnet_engines.serving.logs import configure_logging
from motivnet_engines.serving.server import listening_socket, run_server, url_of
from motivnet_engines.serving.settings import ServeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestFaces:
    """A detector that keeps the ``limit`` largest faces: a picture of a crowd must not take the memory of hundreds."""

    detector: FaceDetector
    limit: int

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """The largest faces, in that order."""
        return self.detector.detect(pixels)[: self.limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningService:
    """A service whose socket is open, and which begins to answer with ``run``."""

    classifier: EmotionClassifier
    app: Starlette
    listener: socket.socket
    settings: ServeSettings

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return url_of(self.listener)

    @property
    def runtime(self) -> str:
        """The name of the runtime that answers."""
        return self.classifier.runtime.name

    def run(self) -> bool:
        """Answers until SIGTERM or SIGINT; False if accepted requests were left unanswered in the grace period."""
        configure_logging(sys.stderr)
        answered = run_server(self.app, self.listener, self.settings)
        if answered:
            self.classifier.close()
        return answered


def listening_service(
    folder: Path,
    settings: ServeSettings,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    detector: FaceDetector | None = None,
    unknown: bool = False,
    classes: Path | None = None,
) -> ListeningService:
    """A service of the artifact in a folder.

    Raises:
        MotivNetError: If the address cannot be listened on, or as ``EmotionClassifier.open`` and ``batching_for``.
    """
    listener = listening_socket(settings)
    try:
        classifier = EmotionClassifier.open(
            folder,
            runtime=runtime,
            threads=threads,
            detector=None if detector is None else LargestFaces(detector=detector, limit=settings.max_faces),
            unknown=unknown,
            classes=classes,
        )
        batching = batching_for(classifier, open_artifact(folder), max_batch=settings.max_batch)
    except BaseException:
        listener.close()
        raise
    app = create_app(classifier, settings, name=folder.resolve().name, batching=batching)
    return ListeningService(classifier=classifier, app=app, listener=listener, settings=settings)
