"""From images to predictions: preprocessing, the classifier, its heads and its calibration."""
