"""Studies: what a user asks of sets of samples, one question a file or folder. None imports Ray."""
