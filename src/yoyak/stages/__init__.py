"""One module for each stage of dvc.yaml and each verb of the command line."""
