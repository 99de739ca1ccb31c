"""The MLflow Model Registry: versions and aliases, promotion, deployment, and from a model's URI to its files."""
