"""The Gaussian bound in a report: over a real run of the toy scenario, whose features are random."""

import json

import pytest

from harness.report import spectra
from harness.report.compile import compile_summary
from harness.running.selection import select_codecs
from lamofcbench.scenarios.base import DTYPE_BITS


@pytest.fixture(scope="module")
def run(toy, toy_data, tmp_path_factory):
    from harness.running.runner import ScenarioRunner
    from harness.running.settings import RunSettings

    results = tmp_path_factory.mktemp("bound") / "results"
    settings = RunSettings(results=results, data=toy_data, progress=False, bitstreams=False)
    codecs = select_codecs(["channel", "kmeans:points=16"], toy)
    ScenarioRunner(toy, settings).run(codecs)
    return results


@pytest.fixture
def summarise(run, toy, toy_data):
    def summarise(**options):
        options = {"resamples": 20, "scenarios": [toy], "data": toy_data, **options}
        return compile_summary(run, **options)

    return summarise


def test_the_bound_falls_with_the_rate_and_no_codec_of_a_gaussian_source_passes_far_below_it(summarise, toy):
    (part,) = summarise().scenarios
    assert part.bound_reason == ""
    assert [tensor.name for tensor in part.bound.tensors] == [spec.name for spec in toy.tensors]
    for rates, errors in ((part.bound.nmse_ebpfp, part.bound.nmse), (part.bound.mse_ebpfp, part.bound.mse)):
        assert errors == sorted(errors, reverse=True)
        assert rates == sorted(rates)
        assert rates[0] == 0
    gaps = [
        p.gap_nmse for codec in part.codecs if codec.role == "codec" for p in codec.points if p.gap_nmse is not None
    ]
    assert len(gaps) > 5
    assert min(gaps) > -0.1


def test_distances_are_the_rate_less_that_of_the_bound_at_the_same_error(summarise, toy):
    import numpy as np

    (part,) = summarise().scenarios
    channel = next(codec for codec in part.codecs if codec.codec == "channel")
    bits = sum(
        DTYPE_BITS[spec.dtype] * t.elements for spec, t in zip(toy.tensors, channel.points[0].tensors, strict=True)
    )
    per_bit = 32 * sum(t.elements for t in channel.points[0].tensors) / bits
    curve = np.array(part.bound.nmse[::-1]), np.array(part.bound.nmse_ebpfp[::-1]) / per_bit
    for point in channel.points:
        if point.gap_nmse is not None:
            assert point.gap_nmse == pytest.approx(point.bpfp - np.interp(point.nmse, *curve), abs=0.03)
    at_a_tenth = channel.bound_gaps[0]
    around = [p.gap_nmse for p in channel.points if p.gap_nmse is not None and 0.02 < p.nmse < 0.5]
    assert min(around) - 0.1 <= at_a_tenth.bits.value <= max(around) + 0.1
    assert at_a_tenth.bits.low <= at_a_tenth.bits.value <= at_a_tenth.bits.high


def test_a_curve_that_does_not_span_the_error_has_no_distance_and_says_so(summarise):
    (part,) = summarise().scenarios
    kmeans = next(codec for codec in part.codecs if codec.codec == "kmeans")
    assert kmeans.bound_gaps[0].bits.value is None
    assert "do not span 0.1" in kmeans.bound_gaps[0].reason


def test_the_spectra_are_kept_in_the_results_folder_and_used_without_the_data(summarise, run, toy, tmp_path):
    first = summarise()
    path = run / toy.ref / spectra.CACHE_FILE
    assert json.loads(path.read_text())["scenario"] == toy.id
    assert [file.name for file in path.parent.glob("*.tmp")] == []
    assert summarise(data=tmp_path / "absent") == first


@pytest.mark.parametrize("damage", ["", "{", '{"tensors": {}}', "negative", "stale"])
def test_damaged_or_stale_spectra_are_computed_anew(summarise, run, toy, damage):
    first = summarise()
    path = run / toy.ref / spectra.CACHE_FILE
    sound = path.read_text()
    kept = json.loads(sound)
    if damage == "negative":
        next(iter(kept["tensors"].values()))["variances"][0] = -1.0
    if damage == "stale":
        kept["data_revision"] = "other"
    path.write_text(json.dumps(kept) if damage in ("negative", "stale") else damage)
    assert summarise() == first
    assert path.read_text() == sound


def test_data_that_are_missing_cost_the_bound_alone(summarise, run, toy, tmp_path):
    (run / toy.ref / spectra.CACHE_FILE).unlink(missing_ok=True)
    (part,) = summarise(data=tmp_path / "absent").scenarios
    assert part.bound is None
    assert "absent" in part.bound_reason
    assert part.codecs[0].retained[0].ebpfp.value is not None
    assert not (run / toy.ref / spectra.CACHE_FILE).exists()
