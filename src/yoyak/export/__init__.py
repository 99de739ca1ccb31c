"""From a trained model to a folder that is small, fast on a CPU, and needs neither torch nor transformers."""
