"""Exporting a trained model to ONNX: a small folder, fast on a CPU, that needs neither torch nor transformers."""
