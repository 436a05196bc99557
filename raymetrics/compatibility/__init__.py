"""Calls of other programs, with their arguments, results and numbers, computed by raymetrics."""
