"""Korean text: masks, particles and the morphological analyser."""
