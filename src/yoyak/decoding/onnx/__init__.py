"""Decoding exported models with onnxruntime and numpy alone."""
