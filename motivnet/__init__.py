"""MotivNet: facial emotion recognition with Sapiens transformers, from checkpoint to device."""

from importlib.metadata import PackageNotFoundError, version

from motivnet import telemetry

telemetry.switch_off()

try:
    __version__ = version("motivnet")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
