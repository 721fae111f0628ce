"""Everything a device needs to run a MotivNet artifact; imports neither torch nor onnx."""
