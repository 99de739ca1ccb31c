"""Ensembles: from the candidates of several members to one summary, as pure functions over texts."""
