"""The names of extractor outputs that are not features, unless a user selects them as features."""

LOGITS = "logits"
CLASS_LOGITS = (LOGITS, "logits_unbiased")
SPATIAL = "spatial"
SCORE = "score"  # of an image, or of an image and its prompt: one number
COSINE = "cosine"  # of the embeddings of an image and of its prompt: one number
SCORES = (SCORE, COSINE)
NOT_FEATURES = (*CLASS_LOGITS, SPATIAL, *SCORES)
