"""Changes to an exported graph, one pass per file; each docstring states its rule."""

from motivnet_export.passes.attention_heads import JoinAttentionHeadsPass
from motivnet_export.passes.fold import FoldConstantsPass
from motivnet_export.passes.pixel_shape import ReadShapeOfFloatsPass

__all__ = ["FoldConstantsPass", "JoinAttentionHeadsPass", "ReadShapeOfFloatsPass"]
