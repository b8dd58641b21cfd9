"""What codecs reach on variants is what the report says, and stays as long as the data do."""

import json

import edition_variants
import pytest

from harness.cli import main
from lamofcbench.errors import LaMoFCBenchError

SHALLOW = "mini-cvu-digits-hard-shallow"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of one codec on a variant, on its whole test split."""
    folder = tmp_path_factory.mktemp("variants")
    run = ["run", "--scenarios", SHALLOW, "--codecs", "uniform", "--points", "2", "--results", str(folder)]
    assert main(run) == 0 and main(["report", "--results", str(folder)]) == 0
    return folder


def test_they_hold_what_the_report_holds(made):
    [part] = json.loads((made / "report" / "summary.json").read_text())["scenarios"]
    [codec] = [codec for codec in part["codecs"] if codec["role"] == "codec"]
    at_95 = next(one for one in codec["retained"] if one["percent"] == 95)
    own = edition_variants.variants(made)[SHALLOW]
    assert own["variant_of"] == "mini-cvu-digits-hard" and own["data"]["data_revision"] == part["data_revision"]
    assert own["codecs"] == {
        "uniform": {
            "ebpfp": at_95["ebpfp"],
            "bound": at_95["bound"],
            "identity": codec["identity"],
            "protocol": part["protocol_version"],
        }
    }


def test_rows_of_codecs_that_did_not_run_stay_while_they_are_of_the_same_data(made):
    now = edition_variants.variants(made)
    other = {"ebpfp": {"value": 1.0}}
    before = {SHALLOW: {**now[SHALLOW], "codecs": {"uniform": other, "vvc": other}}, "mini-other": {"codecs": {}}}
    joined = edition_variants.variants(made, before)
    assert joined[SHALLOW]["codecs"] == {"vvc": other, **now[SHALLOW]["codecs"]} and "mini-other" in joined
    before[SHALLOW]["data"] = {"version": 1, "data_revision": "0" * 64}
    assert edition_variants.variants(made, before)[SHALLOW]["codecs"].keys() == {"uniform"}


def test_a_part_of_a_test_split_is_no_result(tmp_path):
    run = ["run", "--scenarios", SHALLOW, "--codecs", "uniform:step=1", "--limit", "16", "--results", str(tmp_path)]
    assert main(run) == 0 and main(["report", "--results", str(tmp_path)]) == 0
    with pytest.raises(LaMoFCBenchError, match=f"a part of the test split of {SHALLOW}"):
        edition_variants.variants(tmp_path)
