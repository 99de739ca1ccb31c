"""The page of `yoyak demo`: three static files, and a server that hands a pasted dialogue on to a model's server."""
