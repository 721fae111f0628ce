"""What runs on this machine, what is in an artifact, and what it costs."""
