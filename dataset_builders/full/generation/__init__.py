"""Controllable text to image of the full edition: captions and edges of COCO."""
