"""Runs in MLflow: the store, the runs of a pipeline, where they come from, what is still to be sent to them."""
