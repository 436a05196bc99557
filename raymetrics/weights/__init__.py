"""Files of weights: which there are, where they lie, how they come here, what is in them.

Nothing is unpickled but tensors, nothing is downloaded without a digest, and every number
carries the digest of the tensors that it was made with. `known` and `files` load no torch.
"""
