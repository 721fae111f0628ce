"""The cache of encoder tokens: a head trains on them without running the frozen encoder again.

``cache_tokens`` runs the encoder once over every image and keeps its final tokens in FP16;
``TokenStore`` reads them. The tokens of one image are 6.3 MB at ``sapiens-0.3b`` and 9.4 MB at
``sapiens-1b`` (3,072 tokens, 2 bytes per number), 189 GB and 283 GB for the 30,000 images of the
paper.
"""

from motivnet_training.feature_cache.encode import cache_tokens
from motivnet_training.feature_cache.key import TokenKey, token_key
from motivnet_training.feature_cache.store import TokenStore

__all__ = ["TokenKey", "TokenStore", "cache_tokens", "token_key"]
