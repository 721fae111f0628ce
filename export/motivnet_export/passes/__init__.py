"""What is done to an exported graph, one pass a file; each docstring states the rule."""

from motivnet_export.passes.attention_heads import JoinAttentionHeadsPass
from motivnet_export.passes.fold import FoldConstantsPass

__all__ = ["FoldConstantsPass", "JoinAttentionHeadsPass"]
