"""Names of outputs of extractors that are no features, unless somebody takes them as such."""

LOGITS = "logits"
CLASS_LOGITS = (LOGITS, "logits_unbiased")
SPATIAL = "spatial"
NOT_FEATURES = (*CLASS_LOGITS, SPATIAL)
