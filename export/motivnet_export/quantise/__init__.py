"""INT8 and FP8 with NVIDIA's ModelOpt, which runs in a separate environment."""
