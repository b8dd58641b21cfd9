"""Drawn scenes of digit cards and solids: the generator, the builders of both dense tracks, and their training."""
