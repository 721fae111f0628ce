"""MotivNet in PyTorch: encoder, head, and the two together."""

from motivnet.model.ml_decoder import MLDecoder
from motivnet.model.motivnet import MotivNet, build_model
from motivnet.model.sapiens import SapiensEncoder

__all__ = ["MLDecoder", "MotivNet", "SapiensEncoder", "build_model"]
