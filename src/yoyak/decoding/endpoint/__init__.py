"""Summaries by a chat endpoint: what is asked, at which pace, at what cost, and which answers are known already."""
