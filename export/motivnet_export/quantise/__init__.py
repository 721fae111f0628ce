"""INT8 and FP8 for TensorRT with NVIDIA's ModelOpt, and INT8 for OpenVINO with NNCF."""
