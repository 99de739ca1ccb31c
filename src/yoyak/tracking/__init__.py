"""Runs in MLflow: the store, the runs of a pipeline, what they were made from, and rebuilding them."""
