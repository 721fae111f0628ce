"""From PyTorch to a verified ONNX artifact."""
