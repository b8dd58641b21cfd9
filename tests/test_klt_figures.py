"""The page on transform coding: its tables are its figures, and the variants of the ablation are what they say."""

import sys
from pathlib import Path

import pytest
from klt_figures import FIGURES, PAGE, VARIANTS, page, variants_table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import klt_variants

from lamofcbench.codecs.conformance import check_round_trip, fitted
from lamofcbench.codecs.klt import KltCodec


def rate(value, bound="exact"):
    return {"ebpfp": {"value": value, "low": None, "high": None}, "bound": bound}


def test_a_variant_is_compared_with_the_whole_in_the_geometric_mean():
    found = {
        "samples": {"x": 64, "y": 64},
        "ebpfp": {
            "x": {name: rate(0.5) for name in VARIANTS} | {"no-transform": rate(1.0)},
            "y": {name: rate(0.25, "at most") for name in VARIANTS} | {"no-transform": rate(2.0)},
        },
    }
    lines = variants_table(found).splitlines()
    assert lines[2] == "| all of `klt` | 0.5 | ≤ 0.25 | 1.00 |"
    assert lines[-1] == "| no transform at all | 1 | 2 | 4.00 |"  # twice and eight times


def test_the_page_holds_the_figures():
    if not FIGURES.is_file():
        pytest.skip("the figures have not been measured yet")
    assert page(PAGE.read_text(encoding="utf-8")) == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, kind in vars(klt_variants).items() if isinstance(kind, type)
                                  and issubclass(kind, KltCodec) and kind is not KltCodec])  # fmt: skip
def test_every_variant_is_in_the_table_and_a_codec_like_any_other(name):
    variant = getattr(klt_variants, name)
    assert variant.name in VARIANTS
    check_round_trip(fitted(variant, {"step": 0.5}))
