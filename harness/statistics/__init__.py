"""Estimates from samples: bootstrap, curves, BD-rate, Gaussian bounds, distortion."""
