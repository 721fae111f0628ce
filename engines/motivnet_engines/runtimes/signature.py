"""What a manifest promises of the graph: its inputs and outputs as tensor specifications."""

from __future__ import annotations

from motivnet.artifact.manifest import Manifest
from motivnet.errors import ArtifactError
from motivnet.runtime import TensorSpec

BATCH = None


def input_specs(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """The one input: ``(batch, 3, H, W)`` of float32, or ``(batch, H, W, 3)`` of uint8, H and W free at any size."""
    height, width = manifest.input.recipe.size
    pixels = (None, None, 3) if manifest.input.any_size else (height, width, 3)
    sides = pixels if manifest.input.dtype == "uint8" else (3, height, width)
    return (
        TensorSpec(name=manifest.input.name, dtype=manifest.input.dtype, shape=(BATCH, *sides)),
    )


def output_specs(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """``logits (batch, classes)`` and ``embedding (batch, D)``, those that the manifest names, in
    its order.

    Raises:
        ArtifactError: If it names another output.
    """
    widths = {"logits": len(manifest.labels), "embedding": manifest.source.config.encoder.embed_dim}
    if unknown := [name for name in manifest.outputs if name not in widths]:
        raise ArtifactError(
            f"the manifest names an unknown output {unknown[0]!r}; the outputs are {sorted(widths)}"
        )
    if "logits" not in manifest.outputs:
        raise ArtifactError("the manifest names no output 'logits'; build the artifact again")
    return tuple(
        TensorSpec(name=name, dtype="float32", shape=(BATCH, widths[name]))
        for name in manifest.outputs
    )


def check_graph(
    manifest: Manifest, *, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    """Returns when a parsed graph has exactly the inputs and outputs that the manifest promises.

    Raises:
        ArtifactError: Naming the first difference.
    """
    _check("inputs", {spec.name: spec for spec in inputs}, input_specs(manifest))
    _check("outputs", {spec.name: spec for spec in outputs}, output_specs(manifest))


def _check(kind: str, have: dict[str, TensorSpec], promised: tuple[TensorSpec, ...]) -> None:
    for spec in promised:
        found = have.get(spec.name)
        if found != spec:
            raise ArtifactError(
                f"the graph's {kind} do not fit the manifest: {spec.name!r} should be {spec}, "
                f"not {found or 'missing'}; build the artifact again"
            )
    if extra := sorted(set(have) - {spec.name for spec in promised}):
        raise ArtifactError(
            f"the graph has {kind} that the manifest does not name: {', '.join(extra)}"
        )
