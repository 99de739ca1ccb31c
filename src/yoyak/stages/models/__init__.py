"""One module for each verb of `yoyak models`."""
