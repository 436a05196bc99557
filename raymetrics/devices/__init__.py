"""Compute on GPUs: what every network there shares, each with a twin for the CPU."""
