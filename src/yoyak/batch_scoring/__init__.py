"""Summarizing many dialogues part by part: over processes of this machine or a Spark cluster, and resumable."""
