"""Generating candidate summaries from dialogues."""
