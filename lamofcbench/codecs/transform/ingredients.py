"""Ingredients: what the joint transform is made of, so that studies can leave one out and see what it was worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ingredients:
    """All of them, except in an ablation.

    Attributes:
        joined: tensors that share their rows stand side by side; else each has rows of its own.
        unrotated: keys are turned back to position 0 first.
        dictionary: rows that come again bit by bit are predicted from their like.
        unnamed: and those that it has no entry for have a transform of their own; never without ``dictionary``.
        places: where the number of rows never varies, each place has a mean and deviations of its own.
        across: and a transform runs over places; never without ``places``.
        transform: over columns; else they are coded as they are.
    """

    joined: bool = True
    unrotated: bool = True
    dictionary: bool = True
    unnamed: bool = True
    places: bool = True
    across: bool = True
    transform: bool = True


EVERYTHING = Ingredients()
