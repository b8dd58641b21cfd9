"""Split models: a file a family, and the generic hook fallback."""

