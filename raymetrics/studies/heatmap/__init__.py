"""Which pixels of an image FID depends on: heatmaps, their means, and a check by noise."""
