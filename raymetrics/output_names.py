"""The names of extractor outputs that are not features, unless a user selects them as features."""

LOGITS = "logits"
CLASS_LOGITS = (LOGITS, "logits_unbiased")
SPATIAL = "spatial"
NOT_FEATURES = (*CLASS_LOGITS, SPATIAL)
