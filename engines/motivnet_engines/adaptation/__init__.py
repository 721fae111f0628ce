"""Fit new classes to the embeddings of a few labelled images."""
