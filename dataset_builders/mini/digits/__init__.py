"""Handwritten digits: the data plan, the builders of the classification tracks, and the classifier's training."""
