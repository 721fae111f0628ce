"""Ways to serve an artifact: over HTTP, by Triton, and on many machines by Ray."""
