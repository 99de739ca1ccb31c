"""Training a member with transformers' Trainer."""
