"""The lists of the Makefile name what there is."""

import re

import pytest

from harness.results.result import ANCHOR, FLOOR
from harness.running.ladder import rate_parameter
from lamofcbench.codecs.base import CODECS
from lamofcbench.errors import CodecError
from lamofcbench.scenarios.base import SCENARIOS


@pytest.fixture
def listed(repository):
    """What a variable of the Makefile lists."""
    text = (repository / "Makefile").read_text().replace("\\\n", " ")
    return lambda name: re.search(rf"^{name} := (.*)$", text, re.MULTILINE)[1].split()


def test_the_bench_runs_every_codec_once(listed):
    runs = [name for part in ("WHOLE", "FAST", "SLOW", "NETWORKS", "SLOWEST") for name in listed(part)]
    assert sorted(runs) == sorted(set(CODECS.names()) - {ANCHOR, FLOOR})


def test_the_bench_lays_out_a_ladder_for_each_codec_that_can_have_one(listed):
    def can_have_one(name):
        try:
            return rate_parameter(CODECS.get(name)) != "lmbda"  # networks are trained for their own
        except CodecError:
            return False

    assert sorted(listed("ON_LADDERS")) == sorted(filter(can_have_one, CODECS.names()))


def test_the_bench_runs_every_mini_scenario(listed):
    mini = [one for one in SCENARIOS if one.edition == "mini"]
    assert sorted(listed("TRACKS")) == sorted(one.id for one in mini if one.variant_of is None)
    assert sorted(listed("VARIANTS")) == sorted(one.id for one in mini if one.variant_of is not None)
