"""The training samples that are nearest to generated ones, and whether these are copies."""
