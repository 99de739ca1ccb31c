"""From dialogues to candidate summaries."""
