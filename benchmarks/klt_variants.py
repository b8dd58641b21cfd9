"""`klt` with an ingredient left out each, as codecs that the command line takes: what `klt_ablation` measures."""

from __future__ import annotations

from lamofcbench.codecs.klt import KltCodec
from lamofcbench.codecs.transform.ingredients import Ingredients


class Whole(KltCodec):
    """Nothing is left out."""


class EachTensorAlone(KltCodec):
    """No tensor tells anything of another."""

    ingredients = Ingredients(joined=False)


class KeysAsRotated(KltCodec):
    """Keys stay as their rotary embedding left them."""

    ingredients = Ingredients(unrotated=False)


class NoDictionary(KltCodec):
    """Rows that come again are as any other."""

    ingredients = Ingredients(dictionary=False)


class NewWordsAsAnyRow(KltCodec):
    """Rows that have no entry in the dictionary have no transform of their own."""

    ingredients = Ingredients(unnamed=False)


class NoTransformOverPlaces(KltCodec):
    """Places have means and deviations of their own, and tell nothing of each other."""

    ingredients = Ingredients(across=False)


class NoPlaces(KltCodec):
    """Of rows whose number never varies only the first and the last are told apart."""

    ingredients = Ingredients(places=False, across=False)


class NoTransform(KltCodec):
    """Columns are coded as they are, each with its deviation."""

    ingredients = Ingredients(transform=False)
