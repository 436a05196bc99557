"""Matching by weights: those of the generated samples with the smallest Frechet distance."""
