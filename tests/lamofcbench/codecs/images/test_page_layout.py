"""The layout of planes on pages: nothing is lost, nothing overlaps, little is padding."""

import math

import numpy as np
import pytest

from lamofcbench.codecs.images import page_layout
from lamofcbench.errors import CodecError
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec

SHAPES = {
    "hidden": (40, 128),
    "one token": (1, 768),
    "narrow": (4, 64),
    "small": (8, 8),
    "crops": (3, 17, 96),
    "no tokens": (0, 96),
    "keys": (2, 40, 32),
    "state": (256, 8),
    "long state": (1024, 4),
    "pooled": (1280,),
    "latent": (32, 8, 8),
    "scalar": (),
    "single": (1,),
    "odd": (37, 3, 5),
    "wide": (3, 5000),
}
ROLES = {"keys": "key", "state": "ssm_state", "long state": "conv_state", "pooled": "pooled", "latent": "latent"}


def specs_of(names):
    return FeatureSpecs(
        tensors=tuple(
            TensorSpec(name=f"t{row}", role=ROLES.get(name, "hidden"), shape=SHAPES[name], dtype="float32")
            for row, name in enumerate(names)
        )
    )


def laid_out(names):
    specs = specs_of(names)
    return specs, page_layout.lay_out(specs, {spec.name: spec.shape for spec in specs.tensors})


def round_trip(names):
    specs, layout = laid_out(names)
    generator = np.random.default_rng(0)
    tensors = [generator.integers(0, 1024, SHAPES[name], np.int16) for name in names]
    roles = [spec.role for spec in specs.tensors]
    pages = page_layout.to_pages(layout, roles, tensors)
    back = list(page_layout.from_pages(layout, roles, [SHAPES[name] for name in names], pages))
    for name, before, after in zip(names, tensors, back, strict=True):
        assert np.array_equal(after.numpy(), before), name
    return layout, pages


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(page_layout, "MAX_SIDE", 64)
    page_layout._lay_out.cache_clear()
    yield
    page_layout._lay_out.cache_clear()


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_comes_back(name):
    round_trip([name])


def test_a_set_comes_back_from_one_page():
    layout, pages = round_trip([name for name in SHAPES if name != "wide"])
    assert len(layout.pages) == len(pages) == 1


def test_a_set_comes_back_from_many_pages(small_pages):
    layout, pages = round_trip(list(SHAPES))
    assert len(layout.pages) > 10
    assert all(page.shape == size for page, size in zip(pages, layout.pages, strict=True))


def test_a_shape_of_very_many_planes_is_refused():
    specs = specs_of(["crops"])
    assert page_layout.lay_out(specs, {"t0": (page_layout.MAX_PLANES, 1, 1)}).pages
    with pytest.raises(CodecError, match="planes"):
        page_layout.lay_out(specs, {"t0": (page_layout.MAX_PLANES + 1, 1, 1)})


def test_no_elements_need_no_page():
    assert laid_out(["no tokens"])[1].pages == ()


@pytest.mark.parametrize("names", [[name] for name in SHAPES if name != "no tokens"] + [list(SHAPES)], ids=str)
def test_pages_are_of_a_size_that_every_codec_takes(names):
    for height, width in laid_out(names)[1].pages:
        assert (
            page_layout.MIN_SIDE <= height <= page_layout.MAX_SIDE
            and page_layout.MIN_SIDE <= width <= page_layout.MAX_SIDE
        )
        assert height % page_layout.ALIGNMENT == 0 and width % page_layout.ALIGNMENT == 0


def test_pieces_cover_their_pages_without_overlap():
    layout = laid_out(list(SHAPES))[1]
    covered = [np.zeros(size, int) for size in layout.pages]
    for plane in (plane for tensor in layout.planes for plane in tensor):
        for piece in plane.pieces:
            assert piece.y % page_layout.ALIGNMENT == 0 and piece.x % page_layout.ALIGNMENT == 0
            covered[piece.page][piece.y : piece.end_y, piece.x : piece.end_x] += 1
    assert all(page.max() == 1 for page in covered)


@pytest.mark.parametrize(
    "names", [["state"] * 5 + ["long state"] * 5 + ["hidden"], ["keys"] * 10 + ["hidden"], ["pooled", "one token"]]
)
def test_little_of_a_page_is_padding(names):
    layout = laid_out(names)[1]
    elements = sum(math.prod(SHAPES[name]) for name in names)
    assert sum(height * width for height, width in layout.pages) < 1.1 * elements


def test_a_constant_set_makes_a_constant_page():
    names = ["crops", "pooled", "odd"]
    specs, layout = laid_out(names)
    tensors = [np.full(SHAPES[name], 7, np.int16) for name in names]
    [page] = page_layout.to_pages(layout, [spec.role for spec in specs.tensors], tensors)
    rows = max(piece.end_y for tensor in layout.planes for plane in tensor for piece in plane.pieces)
    assert (page[:rows, 0] == 7).all() and set(np.unique(page)) <= {0, 7}


def test_narrow_planes_are_folded_towards_squares():
    [[plane]] = laid_out(["state"])[1].planes
    assert plane.strips == 4 and {(piece.height, piece.width) for piece in plane.pieces} == {(64, 32)}
