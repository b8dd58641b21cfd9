"""The page on transform coding: its tables are its figures, and the variants of the ablation are what they say."""

import json
import sys
from pathlib import Path

import pytest
from klt_figures import (
    CODECS,
    FIGURES,
    PAGE,
    VARIANTS,
    page,
    rates_table,
    transfers_summary,
    transfers_table,
    variants_table,
)

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
    assert lines[3] == "| each tensor alone | 0.5 | ≤ 0.25 | - |"  # both are bounds, and their ratio may be anything
    assert lines[-1] == "| no transform at all | 1 | 2 | ≥ 4.00 |"  # twice, and eight times or more


def test_the_ablation_kept_is_of_all_scenarios_that_its_command_runs():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    asked = next(line.split()[2:] for line in makefile.splitlines() if line.startswith("ABLATION := "))
    kept = json.loads(FIGURES.read_text(encoding="utf-8"))["variants"]
    assert set(kept["ebpfp"]) == set(kept["samples"]) == set(asked)


def test_rates_are_those_of_the_scenarios_that_all_codecs_ran_on():
    retained = {codec: {"x": rate(1.0), "y": rate(4.0, "at most")} for codec in CODECS}
    retained["klt"]["z"] = rate(0.1)
    lines = rates_table(retained).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == ["`x`", "`y`", "**geometric mean**"]
    assert lines[1] == "| `y` | ≤ 4 | ≤ 4 | ≤ 4 | ≤ 4 |"
    assert lines[2].count("**≤ 2**") == len(CODECS)


def moved(codec, source, coded, value, bound="exact"):
    return {
        "codec": codec,
        "fitted_on": source,
        "coded": coded,
        "retained": {"percent": 95.0, "compression": 32 / value, **rate(value, bound)},
    }


MOVED = [
    *(moved("klt", on, on, value) for on, value in (("mini-a", 0.01), ("mini-b", 0.04))),
    moved("klt", "mini-a", "mini-b", 0.1, "at most"),
    moved("klt", "mini-b", "mini-a", 0.3),
    moved("klt", "mini-x", "mini-y", 1.0),
    moved("klt", "mini-y", "mini-y", 0.5),
]


def test_transfers_are_summed_up_by_backbone_apart_from_home():
    lines = transfers_summary(MOVED).splitlines()[2:]
    assert lines == ["| `klt` | a, b | 2 | 0.025 | ≤ 0.2 | 0.3 | - | - |", "| `klt` | y | 1 | 0.5 | 1 | 1 | - | - |"]


TOGETHER = [
    *(moved("klt", on, of, 1.0) for on, of in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "c"))),
    *(moved("klt", on, of, value) for on, of, value in (("b+c", "a", 0.5), ("a+c", "b", 0.25), ("a+b", "c", 0.75))),
]


def test_fitted_on_all_others_together_has_a_column_and_a_row_of_its_own():
    (line,) = transfers_summary(TOGETHER).splitlines()[2:]
    assert line == "| `klt` | a, b, c | 3 | 1 | 1 | 1 | 0.5 | - |"
    assert transfers_table(TOGETHER).splitlines()[-1] == "| `klt` | all others | 0.5 | 0.25 | 0.75 |"


def test_fitted_on_all_together_is_not_fitted_on_all_others():
    everything = [moved("klt", "a+b+c", of, 9.0) for of in "abc"]
    (line,) = transfers_summary([*TOGETHER, *everything]).splitlines()[2:]
    assert line == "| `klt` | a, b, c | 3 | 1 | 1 | 1 | 0.5 | 9 |"
    rows = transfers_table([*TOGETHER, *everything]).splitlines()[-2:]
    assert rows == ["| `klt` | all others | 0.5 | 0.25 | 0.75 |", "| `klt` | all together | 9 | 9 | 9 |"]
    (line,) = transfers_summary(everything).splitlines()[2:]
    assert line == "| `klt` | a, b, c | 0 | - | - | - | - | 9 |"


def test_a_mixture_of_only_some_scenarios_enters_no_mean():
    lines = transfers_summary([*TOGETHER[:-1], moved("klt", "a+c", "c", 9.0)]).splitlines()[2:]
    assert lines == ["| `klt` | a, b, c | 3 | 1 | 1 | 1 | - | - |"]


def test_transfers_of_each_backbone_have_a_table_of_their_own():
    first, second = transfers_table(MOVED).split("\n\n")
    assert first.splitlines()[2:] == ["| `klt` | `mini-a` | 0.01 | ≤ 0.1 |", "| `klt` | `mini-b` | 0.3 | 0.04 |"]
    assert second.splitlines()[2:] == ["| `klt` | `mini-x` | 1 |", "| `klt` | `mini-y` | 0.5 |"]


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
