"""What is special about Korean text: masks, particles and the morphological analyser."""
