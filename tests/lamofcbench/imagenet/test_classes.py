"""ImageNet's lists of classes are those that everybody uses."""

from __future__ import annotations

import hashlib
import json

import pytest

from lamofcbench.errors import DataError, UnknownNameError
from lamofcbench.imagenet.classes import class_of, subset_classes, wnids


@pytest.mark.parametrize("subset, sha256", [("imagenet-a", "a2d0b3a7d6a8360f"), ("imagenet-r", "1bfdbfb1fe9bc564")])
def test_a_subset_has_the_published_classes(subset: str, sha256: str) -> None:
    classes = subset_classes(subset)
    assert len(classes) == 200 and list(classes) == sorted(set(classes))
    assert hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest().startswith(sha256)


def test_classes_are_numbered_by_sorted_wordnet_ids() -> None:
    assert len(wnids()) == 1000 and list(wnids()) == sorted(set(wnids()))
    assert all(class_of(wnid) == number for number, wnid in enumerate(wnids()))
    assert class_of("n01440764") == 0 and class_of("n15075141") == 999  # tench and toilet tissue


def test_the_place_among_200_classes_and_the_class_say_the_same() -> None:
    """The published evaluation compares places in the sorted list of the 200 WordNet ids."""
    for subset in ("imagenet-a", "imagenet-r"):
        ids = sorted(wnids()[index] for index in subset_classes(subset))
        assert [class_of(wnid) for wnid in ids] == list(subset_classes(subset))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet-r' or 'imagenet-a'"):
        subset_classes("imagenet-b")
    with pytest.raises(DataError, match="'n00000000' is no class of ImageNet-1k"):
        class_of("n00000000")
