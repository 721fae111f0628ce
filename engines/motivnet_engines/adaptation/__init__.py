"""Classes learnt from a few images, each a mixture of its own, so that a new one takes nothing from the old."""

from motivnet_engines.adaptation.classes_file import readout_from_file
from motivnet_engines.adaptation.readout import MixtureReadout

__all__ = ["MixtureReadout", "readout_from_file"]
