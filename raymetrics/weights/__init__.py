"""Files of weights: the known files, where they lie, how to download them, and how to read them.

Only tensors are unpickled, nothing is downloaded without a digest, and every result carries the
digest of the tensors that produced it. `known_files` and `locate` do not import torch.
"""
