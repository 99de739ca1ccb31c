"""`yoyak combine`: any models over any file, one summary of each dialogue from all of theirs."""
