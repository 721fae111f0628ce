"""How fast an artifact is, and how right, beside the PyTorch model that it was made from."""
