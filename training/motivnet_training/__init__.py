"""From labelled faces to a MotivNet checkpoint."""
