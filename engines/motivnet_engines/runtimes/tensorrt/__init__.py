"""Engines of TensorRT and TensorRT-RTX, opened and run by the same code."""
