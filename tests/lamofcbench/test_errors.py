"""Errors arrive from another process as they were raised there."""

import pickle
from pathlib import Path

import pytest

import harness.running.launch  # noqa: F401  # with errors of its own
import lamofcbench.codecs.conformance
import lamofcbench.hub  # noqa: F401
from lamofcbench.errors import LaMoFCBenchError, UnknownNameError, WriteError, shown


def kinds(base=LaMoFCBenchError):
    return [base, *(kind for each in base.__subclasses__() for kind in kinds(each))]


MADE = {
    UnknownNameError: lambda kind: kind("codec", "uniforn", ["uniform", "channel"]),
    WriteError: lambda kind: kind(Path("results/run.json"), "no space left on device"),
}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_can_be_sent(kind):
    error = MADE.get(kind, lambda kind: kind("what is wrong, and what to do"))(kind)
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is kind and str(there) == str(error) and there.args == error.args
    assert vars(there) == vars(error)


def test_a_value_is_shown_in_a_line_however_it_nests():
    nested = ()
    for _ in range(100):
        nested = (nested, nested)
    assert len(shown(nested)) <= 80 and len(shown([nested] * 10**6)) <= 80 and len(shown({"a": nested})) <= 80
    assert shown([1, "two", (3.0,)]) == "[1, 'two', (3.0,)]"


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_can_say_where_it_arose_and_keeps_what_it_holds(kind):
    error = MADE.get(kind, lambda kind: kind("what is wrong, and what to do"))(kind)
    located = error.located("sample 3")
    assert type(located) is kind and str(located) == f"sample 3: {error}" and vars(located) == vars(error)
