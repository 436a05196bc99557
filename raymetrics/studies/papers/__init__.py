"""Reproduce the tables and figures of the two papers: a recipe is data, its steps are verbs."""
