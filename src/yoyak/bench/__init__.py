"""Benchmark of the exported model against fp32: size, speed, memory and quality, and whether to serve it."""
