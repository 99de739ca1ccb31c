"""The model as MLflow serves it: batching, limits, the server."""
