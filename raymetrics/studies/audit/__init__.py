"""An audit: how much of a Frechet distance lies in the perceptual null space."""
