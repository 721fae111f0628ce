"""The metrics for Prometheus, in one registry per application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from motivnet.errors import MissingDependencyError

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ModuleNotFoundError as error:
    raise MissingDependencyError("prometheus-client", extra="serve") from error

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_STAGES = {
    "queue": "An image's wait for a place in preparation and in a batch.",
    "prepare": "Decoding an image, finding its faces, cropping and resizing them.",
    "classify": "One call of the runtime.",
    "total": "A request for a prediction, from the end of its head to its answer.",
}


class Metrics:
    """The counters, gauges and histograms of one application; ``seconds`` are those per stage."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        options: dict[str, Any] = {"namespace": "motivnet", "registry": self._registry}
        # Each path and each reason makes a time series, so there must be few.
        self.requests = Counter("requests", "Requests answered.", ("path", "status"), **options)
        self.refused = Counter(
            "refused", "Requests without a result, by reason.", ("reason",), **options
        )
        self.images = Counter("images", "Images that were asked about.", **options)
        self.faces = Counter("faces", "Faces that were classified.", **options)
        self.answered = Counter(
            "answered", "Faces by the model of a cascade that answered.", ("by",), **options
        )
        self.seconds = {
            stage: Histogram(f"{stage}_seconds", text, buckets=_SECONDS, **options)
            for stage, text in _STAGES.items()
        }
        self._sizes = Histogram(
            "batch_size",
            "Faces of one call of the runtime.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            **options,
        )
        self._options = options
        Gauge(
            "start_time_seconds", "When the application was made, in Unix time.", **options
        ).set_to_current_time()

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when Prometheus asks."""
        Gauge(name, text, **self._options).set_function(value)

    def batch(self, size: int, seconds: float) -> None:
        """Count a call of the runtime."""
        self._sizes.observe(size)
        self.seconds["classify"].observe(seconds)

    def text(self) -> bytes:
        """Return all of it, in the format of Prometheus."""
        return generate_latest(self._registry)
