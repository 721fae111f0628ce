"""How fast an artifact is: candidates in alternating rounds, each in its own process."""
