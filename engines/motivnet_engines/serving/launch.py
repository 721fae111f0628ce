"""From an artifact's folder to a service that runs: the classifier, what batches it can prove, and where it listens."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from motivnet.artifact import open_artifact
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.app import create_app
from motivnet_engines.serving.batching import batching_for
from motivnet_engines.serving.logs import configure_logging
from motivnet_engines.serving.server import Ended, bound_socket, run_server, start_listening, url_of
from motivnet_engines.serving.settings import ServeSettings

_MOMENT = 0.1
"""Seconds that threads with nothing left to do need to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Whether every accepted request was answered, and whether no thread is still at work."""

    answered: bool
    idle: bool


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

    def run(self) -> Ending:
        """Answers until SIGTERM or SIGINT, after which the process is to end."""
        configure_logging(sys.stderr)
        ended = run_server(self.app, self.listener, self.settings)
        idle = self._closed(ended)
        # Closing a runtime waits for its calls, and one that nobody waits for any more may outlast
        # the grace period.
        if idle:
            self.classifier.close()
        return Ending(answered=ended.unanswered == 0, idle=idle)

    def _closed(self, ended: Ended) -> bool:
        """Whether all threads were done with what they had within the rest of the grace period."""
        end = time.monotonic() + ended.grace_left
        idle: bool = self.app.state.service.close(timeout=_MOMENT)
        while not idle and time.monotonic() < end and not ended.hurried.is_set():
            idle = self.app.state.service.close(timeout=_MOMENT)
        return idle


def listening_service(
    folder: Path,
    settings: ServeSettings,
    *,
    runtime: str | None = None,
    trust_engines: bool = False,
    threads: int | None = None,
    detector: FaceDetector | None = None,
    unknown: bool = False,
    classes: Path | None = None,
) -> ListeningService:
    """A service of the artifact in a folder.

    Raises:
        MotivNetError: If the address cannot be listened on, or as ``EmotionClassifier.open`` and
        ``batching_for``.
    """
    listener = bound_socket(settings)
    try:
        classifier = EmotionClassifier.open(
            folder,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=detector,
            unknown=unknown,
            classes=classes,
        )
        batching = batching_for(classifier, open_artifact(folder), max_batch=settings.max_batch)
        start_listening(listener)
    except BaseException:
        listener.close()
        raise
    app = create_app(classifier, settings, name=folder.resolve().name, batching=batching)
    return ListeningService(classifier=classifier, app=app, listener=listener, settings=settings)
