"""Planes come back from their canvases, and canvases hold little padding."""

from __future__ import annotations

import math

import pytest
import torch

from lamofcbench.codecs.learned.folding import CanvasLayout

NARROW = {
    "ssm states": [(8192, 16)] * 5,
    "conv states": [(8192, 4)] * 5,
    "pooled vectors": [(1, 768), (1, 1280), (1, 768), (1, 1280)],
    "caches of a few tokens": [(7, 1024)] * 10,
    "a few tokens": [(5, 4096)],
    "odd sizes": [(33, 48), (100, 33), (3, 5), (1, 1), (65, 65), (17, 200)],
}
WIDE = {"image-like": [(1029, 2048)] * 2, "fills its canvas": [(64, 128), (128, 60)]}


def planes_of(shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for shape in shapes]


@pytest.mark.parametrize("packing", ["folded", "published"])
@pytest.mark.parametrize("shapes", [*NARROW.values(), *WIDE.values(), []], ids=[*NARROW, *WIDE, "nothing"])
def test_planes_come_back(shapes, packing):
    planes = planes_of(shapes)
    layout = CanvasLayout(shapes, packing)
    canvases = layout.fill(planes)
    assert [tuple(canvas.shape) for canvas in canvases] == layout.canvases
    assert all(n % 64 == 0 for _, height, width in layout.canvases for n in (height, width))
    cut = layout.cut(canvases)
    assert len(cut) == len(planes)
    assert all(torch.equal(a, b) for a, b in zip(cut, planes, strict=True))


@pytest.mark.parametrize(
    "kind", ["ssm states", "conv states", "pooled vectors", "caches of a few tokens", "a few tokens"]
)
def test_folding_saves_three_quarters_of_narrow_planes(kind):
    areas = {
        packing: sum(map(math.prod, CanvasLayout(NARROW[kind], packing).canvases))
        for packing in ("folded", "published")
    }
    assert areas["published"] >= 4 * areas["folded"]


def test_folded_states_hold_no_padding():
    assert sum(map(math.prod, CanvasLayout(NARROW["ssm states"], "folded").canvases)) == 5 * 8192 * 16


def test_rows_of_a_fold_stay_neighbours():
    """Blocks of consecutive channels stand side by side, each with its states in their columns."""
    plane = torch.arange(8192 * 16).reshape(8192, 16)
    (canvas,) = CanvasLayout([(8192, 16)], "folded").fill([plane])
    assert canvas[0, 0, :16].tolist() == plane[0].tolist()
    assert canvas[0, 1, :16].tolist() == plane[1].tolist()


def test_padding_is_neutral_or_zero():
    plane = torch.full((100, 120), 7, dtype=torch.uint8)
    assert CanvasLayout([(100, 120)], "folded").fill([plane])[0].unique().tolist() == [7]
    (published,) = CanvasLayout([(100, 120)], "published").fill([plane])
    assert published.shape == (1, 128, 128)
    assert published[0, 100:].unique().tolist() == [0]
