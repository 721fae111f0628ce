"""The few inputs that stay in an artifact with their FP32 outputs, for the verdict on a device without PyTorch."""

from __future__ import annotations

from motivnet.artifact.reference import ReferenceSet
from motivnet_export.parity_check import Reference, reference_of
from motivnet_export.parity_images import default_count, gate_images
from motivnet_export.source import ModelSource

KEPT_IMAGES = 4


def kept_reference(source: ModelSource, reference: Reference) -> ReferenceSet:
    """Drawn faces and what PyTorch in FP32 says of them.

    Drawn always: an artifact travels, and the photos that a user judged it on must not travel with
    it.
    """
    if not reference.images.drawn:
        count = min(KEPT_IMAGES, default_count(source.config))
        faces = gate_images(source.config, source.recipe, folder=None, count=count)
        reference = reference_of(source.load(), faces, source.recipe)
    return ReferenceSet(
        pixels=reference.images.pixels[:KEPT_IMAGES],
        logits=reference.outputs.logits[:KEPT_IMAGES],
        embedding=reference.outputs.embedding[:KEPT_IMAGES],
    )
