"""Ensembles: strategies that combine several members into one summary, and the analysis of what they gain."""
