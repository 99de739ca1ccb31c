"""`yoyak combine`: summarize any file with several models, and combine their summaries."""
