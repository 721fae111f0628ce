"""Which model a file of measurements belongs to, whatever it was compiled to since."""

from __future__ import annotations

from dataclasses import dataclass

from motivnet.artifact.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """SHA-256 of the graph and of the checkpoint; the latter None for random weights.

    Both, because a graph whose weights lie beside it is the same file for every checkpoint.
    """

    graph: str
    checkpoint: str | None


def identity_of_model(manifest: Manifest) -> ModelIdentity:
    """The identity of an artifact's model; that of an engine alone is that of the graph it was built from."""
    graph = (
        manifest.engines[0].onnx_sha256
        if manifest.kind == "engine"
        else manifest.entry(manifest.model).sha256
    )
    return ModelIdentity(graph=graph, checkpoint=manifest.source.sha256)
