"""From an artifact's ONNX graph to a TensorRT engine, in a child process."""
