"""Which pixels of an image FID depends on: heatmaps of its sensitivity, their means, a noise check."""
