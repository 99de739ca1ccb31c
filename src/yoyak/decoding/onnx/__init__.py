"""Decoding an exported model with onnxruntime and numpy alone."""
