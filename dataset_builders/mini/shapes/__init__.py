"""Captioned shapes: the raw data and the training of the controllable text-to-image tracks."""
