"""Fidelity: responses to decoded features beside those to uncoded ones, from the pipeline to the report."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch

from harness import evaluate
from harness.report.compile import compile_summary
from harness.report.render import overall_tables, scenario_tables
from harness.results.result import FidelityRecord
from harness.running.fidelity import Fidelity
from harness.statistics.divergence import divergence, energy, kl_divergence
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel

CLASSES = 3


class Echo(SplitModel):
    """Responds with its features, one position a row, as far as it is told how many; counts what it is asked."""

    name = "echo"
    response_kind = "logits"
    load = full = front = front_modules = None

    def __init__(self):
        self.conditionings, self.responses = 0, 0

    def tail(self, batch):
        return [int(features["x"].sum(0).argmax()) for features in batch]

    def conditioned(self, batch):
        self.conditionings += 1
        return [one.with_given({**one.given, "rows": torch.tensor(len(one["x"]))}) for one in batch]

    def response_lengths(self, batch):
        return [int(one.given["rows"]) for one in batch]

    def response(self, batch):
        self.responses += 1
        longest = max(self.response_lengths(batch))
        return torch.stack([torch.cat([one["x"], torch.zeros(longest - len(one["x"]), CLASSES)]) for one in batch])


Echo.__abstractmethods__ = frozenset()


def features(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [FeatureSet({"x": torch.randn(length, CLASSES, generator=generator)}) for length in lengths]


def test_each_sample_gets_its_own_divergence_and_positions():
    stored, decoded = features(4, 1, 2), features(4, 1, 2, seed=1)
    model = Echo()
    predictions, columns = Fidelity(model).tail(0, stored, decoded)
    assert predictions == model.tail(decoded)
    for a, b, column in zip(stored, decoded, columns, strict=True):
        assert column == {
            "response_divergence_nats": pytest.approx(kl_divergence(a["x"], b["x"])),
            "response_positions": len(a["x"]),
        }


def test_values_are_compared_by_their_squared_error_beside_their_energy():
    class Measuring(Echo):
        response_kind = "values"

    stored, decoded = features(4, 1, 2), features(4, 1, 2, seed=1)
    _, columns = Fidelity(Measuring()).tail(0, stored, decoded)
    for a, b, column in zip(stored, decoded, columns, strict=True):
        assert column == {
            "response_squared_error": pytest.approx((a["x"] - b["x"]).square().sum().item()),
            "response_energy": pytest.approx(energy(a["x"]).item()),
            "response_positions": len(a["x"]),
        }
        share = column["response_squared_error"] / column["response_energy"]
        assert share == pytest.approx(divergence("values", a["x"][None], b["x"][None]).item())


def test_uncoded_features_diverge_by_nothing():
    stored = features(3, 2)
    _, columns = Fidelity(Echo()).tail(0, stored, stored)
    assert [column["response_divergence_nats"] for column in columns] == [0.0, 0.0]


def test_responses_to_uncoded_features_are_made_once_a_batch_as_far_as_memory_allows():
    batches = [features(2, 2, seed=0), features(2, 2, seed=1)]
    size = 2 * 2 * CLASSES * 4  # of one batch's response
    figures = {}
    for kept_bytes in (0, size, 2 * size):
        model = Echo()
        fidelity = Fidelity(model, kept_bytes)
        figures[kept_bytes] = [
            fidelity.tail(number, batch, features(2, 2, seed=codec))
            for codec in (5, 6, 7)
            for number, batch in enumerate(batches)
        ]
        assert model.conditionings == 2
        kept = kept_bytes // size
        assert model.responses == 6 + 2 + 2 * (2 - kept)  # decoded, uncoded, and uncoded again for two more codecs
    assert figures[0] == figures[size] == figures[2 * size]


def test_what_the_scenario_gives_stays_beside_the_features():
    class Asking(Echo):
        def tail(self, batch):
            return [int(one.given["offset"]) for one in batch]

    stored = [one.with_given({"offset": torch.tensor(number)}) for number, one in enumerate(features(1, 1))]
    assert Fidelity(Asking()).tail(0, stored, features(1, 1, seed=1))[0] == [0, 1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A decoder's curve on a few samples, finest step first, and the folder of its results."""
    results = tmp_path_factory.mktemp("results")
    specs = [f"uniform:step={step}" for step in (0.02, 1.0, 8.0)]
    curve = evaluate(specs, "mini-clu-facts", limit=6, results=results, progress=False)
    return curve, sorted(curve, key=lambda result: result.codec.params["step"]), results


def test_results_say_how_faithful_a_codec_is(measured):
    curve, points, results = measured
    assert curve.anchor.fidelity.divergence_nats == 0.0
    found = [result.fidelity for result in points]
    assert len({one.positions for one in found}) == 1 and found[0].positions >= 6
    assert 0 < found[0].divergence_nats < 1e-3 < found[1].divergence_nats < found[2].divergence_nats
    for result in points:
        [folder] = results.glob(f"*/*/{result.config_hash}")
        rows = pq.read_table(folder / "samples.parquet")
        nats = rows.column("response_divergence_nats").to_pylist()
        assert sum(rows.column("response_positions").to_pylist()) == result.fidelity.positions
        assert sum(nats) / result.fidelity.positions == pytest.approx(result.fidelity.divergence_nats)


def test_reports_show_the_rate_at_which_it_is_faithful_enough(measured):
    _, points, results = measured
    summary = compile_summary(results, resamples=50)
    [scenario] = summary.scenarios
    codec = next(codec for codec in scenario.codecs if codec.codec == "uniform")
    nats = {point.config_hash: point.divergence_nats for point in codec.points}
    for result in points:
        shown = nats[result.config_hash]
        assert shown.value == result.fidelity.divergence_nats and shown.low <= shown.value <= shown.high
    rates = [result.rate.ebpfp for result in points]
    assert codec.faithful.nats == 0.03 and min(rates) <= codec.faithful.ebpfp.value <= max(rates)
    assert next(c for c in scenario.codecs if c.role == "anchor").faithful.bound is not None
    assert summary.overall[0].faithful_scenarios == 1
    assert summary.overall[0].faithful_ebpfp.value == pytest.approx(codec.faithful.ebpfp.value)
    for table in (overall_tables.overall_table(summary), scenario_tables.headline_table(summary)):
        assert "EBPFP@0.03 nats" in [column.name for column in table.columns]
        assert all(len(row) == len(table.columns) for row in table.rows)
    table = scenario_tables.points_table(scenario)
    assert "KL, nats" in [column.name for column in table.columns]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_results_that_contradict_their_samples_are_skipped(measured, tmp_path):
    _, _, results = measured
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    path = next(copy.glob("*/uniform/*/result.json"))
    data = json.loads(path.read_text())
    data["fidelity"]["divergence_nats"] = 0.001 + 2 * data["fidelity"]["divergence_nats"]
    path.write_text(json.dumps(data))
    assert any("disagree on the divergence" in line for line in compile_summary(copy, resamples=0).warnings)


@pytest.fixture(scope="module")
def depths(tmp_path_factory):
    """A depth head's curve on a few images, finest step first, and the folder of its results."""
    results = tmp_path_factory.mktemp("results")
    specs = [f"uniform:step={step}" for step in (0.3, 4.0, 30.0)]
    curve = evaluate(specs, "mini-cvu-depth", limit=5, results=results, progress=False)
    return curve, sorted(curve, key=lambda result: result.codec.params["step"]), results


def test_results_say_how_far_values_are_off(depths):
    curve, points, results = depths
    assert curve.anchor.fidelity == FidelityRecord(
        kind="values", normalised_error=0.0, positions=points[0].fidelity.positions
    )
    errors = [result.fidelity.normalised_error for result in points]
    assert 0 < errors[0] < 1e-3 < errors[1] < errors[2]
    for result in points:
        [folder] = results.glob(f"*/*/{result.config_hash}")
        rows = pq.read_table(folder / "samples.parquet")
        error, over = (sum(rows.column(f"response_{name}").to_pylist()) for name in ("squared_error", "energy"))
        assert error / over == pytest.approx(result.fidelity.normalised_error)
        assert result.fidelity.figure == result.fidelity.normalised_error and result.fidelity.divergence_nats is None


def test_reports_show_the_rate_at_which_values_are_near_enough(depths):
    _, points, results = depths
    summary = compile_summary(results, resamples=50)
    assert all("part of the test samples" in warning for warning in summary.warnings)
    [scenario] = summary.scenarios
    codec = next(codec for codec in scenario.codecs if codec.codec == "uniform")
    shown = {point.config_hash: point.response_error for point in codec.points}
    for result in points:
        value = shown[result.config_hash]
        assert value.value == result.fidelity.normalised_error and value.low <= value.value <= value.high
    rates = [result.rate.ebpfp for result in points]
    assert codec.low_error.error == 0.03 and min(rates) <= codec.low_error.ebpfp.value <= max(rates)
    assert codec.faithful is None and codec.points[0].divergence_nats.value is None
    [row] = summary.overall
    assert (row.low_error_scenarios, row.faithful_scenarios) == (1, 0)
    assert row.low_error_ebpfp.value == pytest.approx(codec.low_error.ebpfp.value)
    for table, name in [
        (overall_tables.overall_table(summary), "EBPFP@0.03 error"),
        (scenario_tables.headline_table(summary), "EBPFP@0.03 error"),
        (scenario_tables.points_table(scenario), "response error"),
    ]:
        names = [column.name for column in table.columns]
        assert name in names and not {"EBPFP@0.03 nats", "KL, nats"} & set(names)
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_results_of_versions_that_knew_logits_only_are_read():
    record = FidelityRecord.model_validate({"divergence_nats": 0.25, "positions": 4})
    assert (record.kind, record.figure, record.normalised_error) == ("logits", 0.25, None)


def test_models_without_responses_have_no_fidelity(make_runner, toy):
    from lamofcbench.codecs.identity import IdentityCodec

    finished = make_runner().run_codec(IdentityCodec(toy.specs))
    assert finished.result.fidelity is None
    assert "response_positions" not in pq.read_schema(finished.folder / "samples.parquet").names
