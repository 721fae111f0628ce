"""INT8 and FP8 through NVIDIA's ModelOpt, which runs in an environment of its own."""
