"""Everything that can run an artifact, and the choice of a runtime."""
