"""How big, how fast and how good the exported model is beside fp32, and whether it is the one to serve."""
