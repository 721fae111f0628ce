"""Compare any runtime with the artifact's PyTorch reference."""
