"""Versions and aliases in the MLflow Model Registry, and from a model's URI to its files."""
