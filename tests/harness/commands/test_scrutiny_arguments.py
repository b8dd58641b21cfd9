"""How closely to look, as the command line says it."""

import argparse

import pytest

from harness.commands import _scrutiny
from harness.submission.standing import Standing
from harness.submission.verdict import Looked
from lamofcbench.errors import LaMoFCBenchError


def said(*arguments):
    parser = argparse.ArgumentParser()
    _scrutiny.add_arguments(parser)
    return _scrutiny.scrutiny(parser.parse_args(list(arguments)))


def test_new_samples_are_drawn_by_a_seed_that_nobody_knew_before():
    first, second = (said("--fresh", "--full").fresh for _ in range(2))
    assert first != second and 0 <= first < 2**63 and 0 <= second < 2**63
    assert said().fresh is None and said("--fresh", "5").fresh == 5


def test_a_verdict_that_stands_is_repeated_on_other_new_samples():
    standing = Standing("verified", Looked(fresh=5))
    drawn = [standing.scrutiny(said()).fresh for _ in range(2)]
    assert None not in drawn and len({5, *drawn}) == 3
    assert standing.scrutiny(said("--fresh", "7")).fresh == 7
    assert Standing("verified", Looked()).scrutiny(said()).fresh is None


@pytest.mark.parametrize("seed", ["-1", "-2", str(2**63)])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(LaMoFCBenchError, match=r"--fresh is .*; it may be 0 to 2\*\*63 - 1"):
        said("--fresh", seed)
