"""What an artifact is and costs, and what can be built and run on this machine."""
