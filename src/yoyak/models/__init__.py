"""Models by family: their text, tokenizers, building, loading and preflight."""
