"""What the service says of the model that it serves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from motivnet import __version__
from motivnet.artifact.manifest import Manifest
from motivnet.images import MAX_PIXELS
from motivnet.printable import printable
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.registry import verdict
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.settings import ServeSettings


def model_description(
    classifier: EmotionClassifier, settings: ServeSettings, *, name: str, batching: Batching
) -> dict[str, Any]:
    """The answer of ``GET /v1/model``; it names no path."""
    manifest, runtime = classifier.manifest, classifier.runtime
    return {
        "name": printable(name),
        "labels": list(classifier.labels),
        "precision": manifest.precision,
        "runtime": runtime.name,
        "compute": runtime.compute,
        "input": _input(manifest),
        "parity": _parity(manifest, runtime.name),
        "detector": None
        if classifier.detector is None
        else getattr(classifier.detector, "name", "custom"),
        "unknown": classifier.unknown,
        "batching": asdict(batching),
        "limits": {
            "max_body_bytes": settings.max_body_bytes,
            "max_pixels": MAX_PIXELS,
            "max_images": settings.max_images,
            "max_faces": settings.max_faces,
            "deadline_ms": settings.deadline_ms,
        },
        "version": __version__,
    }


def _input(manifest: Manifest) -> dict[str, Any]:
    height, width = manifest.input.recipe.size
    return {
        "recipe": manifest.input.recipe.name,
        "height": height,
        "width": width,
        "dtype": manifest.input.dtype,
        "any_size": manifest.input.any_size,
    }


def _parity(manifest: Manifest, runtime: str) -> dict[str, Any]:
    """How close to PyTorch the artifact is, and what its build said of the runtime that is open here."""
    return {
        "passed": manifest.parity.passed,
        "images": manifest.parity.images,
        "runtime": verdict(manifest, runtime),
    }
