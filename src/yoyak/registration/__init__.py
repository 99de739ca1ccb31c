"""From a commit's results, or a bundle, to registered models."""
