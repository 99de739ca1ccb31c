"""Korean text: masks, particles, names, the morphological analyser, and facts of texts, English ones too."""
