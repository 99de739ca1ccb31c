"""Training one member with transformers' Trainer."""
