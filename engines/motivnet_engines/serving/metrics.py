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
_SIZES = (1, 2, 4, 8, 16, 32, 64)

STAGES = {
    "queue": "An image's wait for a place in preparation and in a batch.",
    "prepare": "Decoding an image, finding its faces, cropping and resizing them.",
    "classify": "One call of the runtime.",
    "total": "A request for a prediction, from the end of its head to its answer.",
}


class Metrics:
    """The counters, gauges and histograms of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        options: dict[str, Any] = {"namespace": "motivnet", "registry": self._registry}
        self._requests = Counter("requests", "Requests answered.", ("path", "status"), **options)
        self._refused = Counter(
            "refused", "Requests without a result, by reason.", ("reason",), **options
        )
        self._images = Counter("images", "Images that were asked about.", **options)
        self._faces = Counter("faces", "Faces that were classified.", **options)
        self._sizes = Histogram(
            "batch_size", "Faces of one call of the runtime.", buckets=_SIZES, **options
        )
        self._seconds = {
            stage: Histogram(f"{stage}_seconds", text, buckets=_SECONDS, **options)
            for stage, text in STAGES.items()
        }
        self._options = options
        Gauge(
            "start_time_seconds", "When the application was made, in Unix time.", **options
        ).set_to_current_time()

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when Prometheus asks."""
        Gauge(name, text, **self._options).set_function(value)

    def answered(self, *, path: str, status: int) -> None:
        """Count a request; each ``path`` makes a time series, so there must be few."""
        self._requests.labels(path=path, status=str(status)).inc()

    def refused(self, reason: str) -> None:
        """Count a request that got no result."""
        self._refused.labels(reason=reason).inc()

    def image(self, *, faces: int) -> None:
        """Count an image and its faces."""
        self._images.inc()
        self._faces.inc(faces)

    def batch(self, size: int, seconds: float) -> None:
        """Count a call of the runtime."""
        self._sizes.observe(size)
        self.took("classify", seconds)

    def took(self, stage: str, seconds: float) -> None:
        """Add to the histogram of a stage."""
        self._seconds[stage].observe(seconds)

    def text(self) -> bytes:
        """Return all of it, in the format of Prometheus."""
        return generate_latest(self._registry)
