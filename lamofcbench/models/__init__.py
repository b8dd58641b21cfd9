"""Split models: a file a family, and the generic hook fallback."""

from lamofcbench.models.base import MODELS, SplitModel
from lamofcbench.models.hooks import HookedSplitModel
from lamofcbench.models.loading import load_model

__all__ = ["MODELS", "HookedSplitModel", "SplitModel", "load_model"]
