import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from harness.results.result import SAMPLE_COLUMNS, TIMING_COLUMNS
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import CODECS, load_saved, make_codecs
from lamofcbench.errors import BitstreamError, DataError, LaMoFCBenchError, PluginError, ScenarioError

# ------------------------------------------------------------------------------------------------ files and figures


def test_a_result_is_laid_out_as_published(make_runner, toy):
    finished = make_runner().run_codec(IdentityCodec(toy.specs))
    folder = finished.folder
    assert folder.parent.name == "identity" and folder.parent.parent.name == "toy-directions@1"
    assert len(folder.name) == 16 and folder.name == finished.result.config_hash
    names = {path.name for path in folder.iterdir()}
    assert names == {"result.json", "samples.parquet", "timings.parquet", "run.json", "codec", "bitstreams"}
    assert {path.name for path in (folder / "bitstreams").iterdir()} == {f"{i}.bin" for i in range(22)}

    samples = pq.read_table(folder / "samples.parquet")
    assert samples.column("index").to_pylist() == list(range(22))
    tensors = [spec.name for spec in toy.tensors]
    expected = set()
    for column in SAMPLE_COLUMNS:
        if column == "quantiser_error.<tensor>":
            continue  # the identity codec has no quantiser; see the test of one that has
        if column == "given_bytes" or column.startswith("response_"):
            continue  # this scenario gives its tail nothing else, which shows no responses: test_given, test_fidelity
        if column.endswith("<tensor>"):
            expected |= {column.replace("<tensor>", tensor) for tensor in tensors}
        else:
            expected.add(column.replace("<name>", "correct"))
    assert set(samples.column_names) == expected
    assert pq.read_table(folder / "timings.parquet").column_names == list(TIMING_COLUMNS)


def test_rate_counts_every_byte_of_the_complete_bitstreams(make_runner, toy):
    finished = make_runner().run_codec(IdentityCodec(toy.specs))
    sizes = [(finished.folder / "bitstreams" / f"{i}.bin").stat().st_size for i in range(22)]
    rate = finished.result.rate
    assert rate.coded_bytes == sum(sizes)
    assert rate.bpfp == 8 * sum(sizes) / rate.elements
    assert rate.ebpfp == 32 * 8 * sum(sizes) / rate.raw_bits > 32  # the container is counted too
    for name, record in finished.result.tensors.items():
        bits = {"hidden": 32, "key.0": 16}[name]
        assert record.payload_bytes == record.elements * bits // 8
        assert record.payload_bpfp == bits
        assert record.mse == 0.0


def test_a_codec_that_can_tell_has_its_quantisers_share_recorded(make_runner, toy):
    runner = make_runner()
    told = runner.run_codec(make_codecs("kmeans:points=4", toy.specs)[0])
    names = pq.read_schema(told.folder / "samples.parquet").names
    assert {f"quantiser_error.{spec.name}" for spec in toy.tensors} <= set(names)
    for record in told.result.tensors.values():
        assert record.quantiser_mse == record.mse > 0  # its indices are coded losslessly
    silent = runner.run_codec(make_codecs("uniform:step=1.0", toy.specs)[0])
    assert [record.quantiser_mse for record in silent.result.tensors.values()] == [None, None]


def test_distortion_and_score_are_those_of_the_decoded_bytes(make_runner, toy):
    runner = make_runner()
    codec = make_codecs("uniform:step=1.0", toy.specs)[0]
    finished = runner.run_codec(codec)
    decoder = load_saved(finished.folder / "codec")
    errors = elements = 0.0
    for index in range(22):
        decoded = decoder.decode((finished.folder / "bitstreams" / f"{index}.bin").read_bytes())
        for name, original in runner.test.features(index).tensors.items():
            errors += float((original.double() - decoded[name].double()).square().sum())
            elements += original.numel()
    assert finished.result.mse == pytest.approx(errors / elements, rel=1e-9) and errors > 0
    samples = pq.read_table(finished.folder / "samples.parquet").to_pylist()
    correct = [row["prediction"] == row["reference"] for row in samples]
    assert finished.result.score == np.mean(correct)
    assert [row["statistic.correct"] for row in samples] == [float(c) for c in correct]


def test_anchor_and_floor_come_first_and_only_once(make_runner, toy, computed_batches):
    codecs = make_codecs("identity", toy.specs) + make_codecs("mean", toy.specs) + make_codecs("zstd", toy.specs)
    evaluation = make_runner(overwrite="always").run(codecs)
    assert computed_batches == 3 * list(range(6))
    assert evaluation.anchor == evaluation.points[0] and evaluation.floor == evaluation.points[1]
    assert evaluation.anchor.result.codec.name == "identity" and evaluation.anchor.result.score == 1.0
    assert evaluation.floor.result.codec.name == "mean" and evaluation.floor.result.score < 0.5
    assert [f.result.codec.trained_on for f in evaluation.points] == ["nothing", "calibration", "nothing"]
    # A lossless codec reproduces the anchor in all but the rate.
    zstd, anchor = evaluation.points[2].result, evaluation.anchor.result
    assert (zstd.score, zstd.mse) == (anchor.score, 0.0)


def test_a_result_says_what_kind_of_data_its_codec_has_learned_from(make_runner, toy, tmp_path):
    runner = make_runner()
    fitted = runner.run_codec(make_codecs("uniform:step=1.0", toy.specs)[0])
    saved = load_saved(fitted.folder / "codec")
    elsewhere = make_runner(results=tmp_path / "elsewhere").run_codec(saved)
    # Who brings a codec with its state may have fitted it on anything.
    assert [f.result.codec.trained_on for f in (fitted, elsewhere)] == ["calibration", "other data"]
    assert CODECS.get("klt-task")(toy.specs).trained_on == "tail"


def test_codecs_learn_from_the_calibration_split_alone(make_runner, toy, monkeypatch):
    seen = []

    class SpyCodec(IdentityCodec):
        needs_calibration = True

        def learn(self, calibration):
            seen.extend(calibration)
            seen.extend(calibration)  # several passes are possible
            return {"count": torch.tensor([len(seen)])}

    runner = make_runner()
    runner.run_codec(SpyCodec(toy.specs))
    assert len(seen) == 2 * toy.calibration_samples
    for features, index in zip(seen, 2 * list(range(toy.calibration_samples)), strict=True):
        assert torch.equal(features["hidden"], runner.calibration.features(index)["hidden"])


def test_encoder_and_decoder_are_two_objects_from_the_saved_folder(make_runner, toy):
    class Cheat(IdentityCodec):
        """Would decode without its bytes if one object did both."""

        def encode_features(self, features):
            self.kept = dict(features.tensors)
            return b""

        def decode_features(self, payload, shapes):
            return self.kept

    with pytest.raises(BitstreamError, match="cannot decode") as error:
        make_runner().run_codec(Cheat(toy.specs))
    assert "toy-directions sample 0 (test-0)" in str(error.value)


@pytest.mark.parametrize(
    "change", [{"batch_size": 3}, {"version": 2}, {"title": "another one"}], ids=lambda change: next(iter(change))
)
def test_the_hash_tells_scenario_declarations_apart(make_runner, toy, change):
    codec = IdentityCodec(toy.specs)
    before, after = make_runner(), make_runner(toy.model_copy(update=change).with_origin(toy.origin))
    after.__dict__["test"] = before.test
    assert before.fitted(codec)[1].path.name != after.fitted(codec)[1].path.name


def test_the_hash_covers_the_seed_but_neither_limit_nor_paths(make_runner, toy, tmp_path):
    codec = IdentityCodec(toy.specs)
    base = make_runner().fitted(codec)[1].path.name
    assert make_runner(seed=1).fitted(codec)[1].path.name != base
    other = make_runner(limit=3, threads=2, results=tmp_path / "elsewhere", argv=("x",)).fitted(codec)[1]
    assert other.path.name == base


def test_two_runs_give_the_same_files(make_runner, toy, tmp_path, snapshot):
    codecs = make_codecs("uniform:step=0.5", toy.specs)
    for name in ("one", "two"):
        make_runner(results=tmp_path / name).run(codecs)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two") != {}


def test_run_json_says_how_it_was_run(make_runner, toy):
    finished = make_runner(seed=5, threads=1, argv=("run", "--limit")).run_codec(IdentityCodec(toy.specs))
    run = json.loads((finished.folder / "run.json").read_text())
    assert (run["seed"], run["threads"], run["processes"], run["device"]) == (5, 1, 1, "cpu")
    assert run["batches_by_rank"] == {"0": 6}
    assert run["argv"] == ["run", "--limit"]
    assert run["packages"]["torch"] == torch.__version__ and {"commit", "started", "finished"} <= set(run)


def test_threads_are_pinned_during_a_run_and_given_back(make_runner, toy):
    seen = []

    class CountThreads(IdentityCodec):
        def encode_tensor(self, spec, tensor):
            seen.append(torch.get_num_threads())
            return super().encode_tensor(spec, tensor)

    before = torch.get_num_threads()
    make_runner(threads=2).run([CountThreads(toy.specs)])
    assert set(seen) == {2} and torch.get_num_threads() == before


# ---------------------------------------------------------------------------------------------------------- mistakes


@pytest.fixture
def hopeless(toy, tmp_path):
    """The toy scenario with a metric of its own whose range dwarfs the difference of anchor and floor."""
    metric = tmp_path / "metric.py"
    metric.write_text(
        "from harness.metrics.accuracy import Accuracy\n"
        "class Wide(Accuracy):\n"
        "    name = 'wide'\n"
        "    range = (0.0, 100.0)\n"
    )
    return toy.model_copy(update={"metric": f"{metric}:Wide"}).with_origin(toy.origin)


def test_a_scenario_that_cannot_tell_codecs_apart_fails_after_anchor_and_floor(make_runner, hopeless, toy_data, caplog):
    runner = make_runner(hopeless)
    runner.__dict__.update(test=make_runner().test, calibration=make_runner().calibration)
    with pytest.raises(ScenarioError, match="closer than a fifth of the range"):
        runner.run([])
    assert len(list(runner.settings.results.rglob("result.json"))) == 2
    limited = make_runner(hopeless, limit=8)
    limited.__dict__.update(test=runner.test, calibration=runner.calibration)
    limited.run([])  # under a limit it is a warning
    assert "cannot tell codecs apart" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": "down"}, "says direction 'down'"),
        ({"prediction": "text"}, "compares label or scores, not text"),
        ({"metric_options": {"nonsense": 1}, "metric": "mean-iou"}, "refuses its options"),
        ({"needs_raw_input": True}, "raw input"),
    ],
)
def test_a_scenario_that_does_not_fit_its_metric_is_refused_at_once(make_runner, toy, change, message):
    with pytest.raises(ScenarioError, match=message):
        make_runner(toy.model_copy(update=change).with_origin(toy.origin))


def test_data_of_another_size_are_refused(make_runner, toy, toy_data):
    runner = make_runner(toy.model_copy(update={"test_samples": 23}).with_origin(toy.origin))
    with pytest.raises(DataError):
        _ = runner.test


@pytest.mark.parametrize(("stage", "verb"), [("encode_tensor", "encode"), ("decode_tensor", "decode")])
def test_a_codec_that_fails_is_named_with_the_sample(make_runner, toy, stage, verb):
    def fail(self, *arguments):
        raise RuntimeError("out of ideas")

    codec = type("FailingCodec", (IdentityCodec,), {stage: fail})(toy.specs)
    with pytest.raises(LaMoFCBenchError, match=f"toy-directions sample 0 .test-0.*{verb}.*out of ideas"):
        make_runner().run_codec(codec)


def test_a_tail_that_loses_a_sample_is_told_so(make_runner, toy):
    class Losing:
        response_kind = None

        def tail(self, batch):
            return [0] * (len(batch) - 1)

    runner = make_runner()
    runner.__dict__["model"] = Losing()
    with pytest.raises(PluginError, match="made 3 predictions of 4 samples"):
        runner.run_codec(IdentityCodec(toy.specs))


def test_data_built_again_while_a_run_opens_them_are_refused(make_runner, toy, monkeypatch):
    from lamofcbench.storage.calibration import Calibration

    monkeypatch.setattr(Calibration, "data_revision", property(lambda self: "another"))
    with pytest.raises(DataError, match="the data of toy-directions were built again while they were opened"):
        make_runner().run_codec(make_codecs("uniform:step=0.5", toy.specs)[0])
