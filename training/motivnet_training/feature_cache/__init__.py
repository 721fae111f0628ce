"""The cache of encoder tokens: a head trains on them without running the frozen encoder again."""

from motivnet_training.feature_cache.encode import cache_tokens, fill_store
from motivnet_training.feature_cache.key import TokenKey, Views, token_key
from motivnet_training.feature_cache.store import TokenStore

__all__ = ["TokenKey", "TokenStore", "Views", "cache_tokens", "fill_store", "token_key"]
