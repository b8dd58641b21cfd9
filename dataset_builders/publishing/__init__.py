"""A dataset folder as a dataset repository on the Hub: its card, its benchmark file, and the upload."""
