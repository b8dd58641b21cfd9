"""The class of a WordNet id, and the classes of ImageNet-A and ImageNet-R.

Classes are numbered as everywhere since the challenge of 2012: by their WordNet ids, sorted. The lists lie beside this
module, one entry a line: ``wnids.txt`` (1000 ids), ``imagenet-a.txt`` (200 classes, arXiv 1907.07174) and
``imagenet-r.txt`` (200 classes, arXiv 2006.16241).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lamofcbench.errors import DataError, UnknownNameError

SUBSETS = ("imagenet-a", "imagenet-r")


@lru_cache(maxsize=len(SUBSETS))
def subset_classes(subset: str) -> tuple[int, ...]:
    """The classes of a subset, ascending.

    Args:
        subset: one of `SUBSETS`.

    Raises:
        UnknownNameError: for any other name.

    Example:
        >>> len(subset_classes("imagenet-a")), subset_classes("imagenet-r")[:3]
        (200, (1, 2, 4))
    """
    if subset not in SUBSETS:
        raise UnknownNameError("class subset", subset, SUBSETS)
    return tuple(map(int, _lines(f"{subset}.txt")))


@lru_cache(maxsize=1)
def wnids() -> tuple[str, ...]:
    """The WordNet ids of the 1000 classes, in class order."""
    return tuple(_lines("wnids.txt"))


def class_of(wnid: str) -> int:
    """The class of a WordNet id, which is also the name of a folder of images and the beginning of a file's name.

    Raises:
        DataError: if ImageNet-1k has no such class.

    Example:
        >>> class_of("n01443537")
        1
    """
    try:
        return _numbers()[wnid]
    except KeyError:
        raise DataError(
            f"{wnid!r} is no class of ImageNet-1k; its classes are WordNet ids such as 'n01440764'"
        ) from None


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {wnid: number for number, wnid in enumerate(wnids())}


def _lines(name: str) -> list[str]:
    return Path(__file__).with_name(name).read_text(encoding="ascii").split()
