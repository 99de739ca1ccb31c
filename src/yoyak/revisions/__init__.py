"""What a change does to the model: two git revisions side by side, as the report that a pull request gets."""
