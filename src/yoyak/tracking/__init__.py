"""MLflow runs: the tracking store, a pipeline's runs, their lineage, and metrics waiting to be sent."""
