"""Everything that can run an artifact, and the registry that chooses one."""
