"""Which codec suits which kind of features, by how much, and what joining tensors could bring."""

import pytest
from synthetic_results import Writer

from harness.report.compile import compile_summary
from harness.report.kind_findings import kind_findings, rates_of
from harness.report.summary import BoundRecord, JointBoundRecord
from harness.statistics.curves import ReachedRate

RATES = {
    "mini-clu-facts": {"first": 1.0, "second": 4.0},
    "mini-clu-arithmetic": {"first": 4.0, "second": 16.0},
    "mini-cvu-digits": {"first": 3.0, "second": 2.0, "third": 9.0},
}


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    for scenario, rates in RATES.items():
        writer = Writer(root, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        for codec, ebpfp in rates.items():
            writer.write(codec, ebpfp=ebpfp, score=0.98)
    return compile_summary(root, resamples=0, bound=False).scenarios


def rates_that_are(bounds):
    """The rates, of whose codecs these have but bounds."""
    found = {}
    for scenario, rates in RATES.items():
        for codec, ebpfp in rates.items():
            found.setdefault(codec, {})[scenario] = ReachedRate(ebpfp, bounds.get(codec, "exact"))
    return found


def test_each_kind_has_its_best_codec_and_how_much_more_the_next_takes(scenarios):
    assert kind_findings(scenarios, rates_that_are({}), 95) == [
        "KV caches (2 scenarios): first keeps 95 % of the score at an EBPFP of 2.00; the next, second, takes 4.00 "
        "times as much.",
        "Hidden states: second keeps 95 % of the score at an EBPFP of 2.00; the next, first, takes 1.50 times as much.",
    ]


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"second": "at most"}, "at most 2.00; the next, first, takes at least 1.50 times as much."),
        ({"first": "at most"}, "2.00; the next, first, takes at most 1.50 times as much."),
        ({"first": "at most", "second": "at most"}, "at most 2.00; the next, first, at one of at most 3.00."),
        ({"third": "at most"}, "2.00; the next, first, takes 1.50 times as much."),
    ],
)
def test_of_rates_that_are_but_bounds_so_is_their_ratio(scenarios, bounds, said):
    _, found = kind_findings(scenarios, rates_that_are(bounds), 95)
    assert found == f"Hidden states: second keeps 95 % of the score at an EBPFP of {said}"


def test_rates_are_those_of_codecs_with_what_kind_of_figure_they_are(scenarios):
    assert rates_of(scenarios, 95) == rates_that_are(dict.fromkeys(("first", "second", "third"), "at most"))


def test_nothing_is_said_of_a_kind_on_which_there_is_nothing_to_compare(scenarios):
    alone = [scenarios[0].model_copy(update={"codecs": scenarios[0].codecs[:1]})]
    assert kind_findings(alone, rates_of(alone, 95), 95) == [] == kind_findings([], {}, 95)


def test_what_joining_tensors_could_bring_is_read_from_the_bounds(scenarios):
    """At NMSE 0.1: half way, in the logarithm, between the samples at 1 and at 0.01."""
    joint = JointBoundRecord(groups=[], nmse=[1.0, 0.01], nmse_ebpfp=[0.25, 0.75], mse=[], mse_ebpfp=[])
    bound = BoundRecord(tensors=[], joint=joint, nmse=[1.0, 0.01], nmse_ebpfp=[1.0, 3.0], mse=[], mse_ebpfp=[])
    bounded = [scenario.model_copy(update={"bound": bound}) for scenario in scenarios]
    first, second = kind_findings(bounded, rates_of(bounded, 95), 95)
    alone, joined = "an EBPFP of 2.00 one by one", "75 % less where those that share rows are coded together."
    said = f"At an NMSE of 0.1 Gaussian tensors need {alone}, and {joined}"
    assert first.endswith(said) and second.endswith(said)
