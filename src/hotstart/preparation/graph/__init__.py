"""From a model folder to ONNX graphs whose weights stay in the model's own files."""
