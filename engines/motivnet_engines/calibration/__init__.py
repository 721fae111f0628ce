"""How sure a prediction may be: a temperature for its probabilities, and a distance that tells what is no such face."""

from motivnet_engines.calibration.class_statistics import ClassStatistics
from motivnet_engines.calibration.record import Calibration, CalibrationFacts, calibration_of_artifact

__all__ = ["Calibration", "CalibrationFacts", "ClassStatistics", "calibration_of_artifact"]
