"""From an artifact's ONNX graph to a TensorRT engine, in a process of its own."""
