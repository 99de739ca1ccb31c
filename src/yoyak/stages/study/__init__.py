"""The verbs that begin with ``study``."""
