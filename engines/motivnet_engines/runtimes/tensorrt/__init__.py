"""TensorRT and TensorRT-RTX: one builder, one proof and one runner for both packages."""
