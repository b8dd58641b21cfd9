"""Ladders: laid out by scores on calibration samples, by one rule."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from harness.cli import main, make_parser
from harness.commands import ladder as ladder_command
from harness.results.scoring import code_of, make_metric
from harness.running import calibration_scores, ladder, selection
from harness.running.calibration_scores import CalibrationScore, CalibrationScores
from harness.running.ladder import Grid, lay_out, rate_parameter
from lamofcbench.codecs.base import CODECS, Codec
from lamofcbench.errors import CodecError, DataError, ScenarioError
from lamofcbench.models.loading import load_model
from lamofcbench.storage import open_split

STEPS = CODECS.get("uniform")


def by_step(knee):
    """Scores that fall off around a step; the rate is 8 at step 1, and a bit less an octave."""

    def score(codec):
        kept = 1 / (1 + (codec.params.step / knee) ** 2)
        return CalibrationScore(max(8 - math.log2(codec.params.step), 0.01), kept, kept)

    return score


def identity_on(scenario):
    """Of ladders that are made of such scores: the scenario's declaration, and the code of metric and split model."""
    return {"scenario_digest": scenario.digest, **code_of(scenario, make_metric(scenario))}


class TestGrid:
    def test_values_are_a_factor_of_the_root_of_two_apart_and_rise_towards_lower_rates(self):
        grid = Grid(STEPS)
        values = [grid.value(number) for number in range(-3, 4)]
        assert values == sorted(values)
        assert [b / a for a, b in itertools.pairwise(values)] == pytest.approx([2**0.5] * 6, rel=1e-3)

    def test_a_parameter_that_falls_with_the_rate_runs_the_other_way(self):
        grid = Grid(CODECS.get("jpeg2000"))
        assert grid.value(-1) - grid.value(0) == grid.value(0) - grid.value(1) == 4

    def test_whole_numbers_stay_whole(self):
        assert all(isinstance(Grid(CODECS.get("kmeans")).value(number), int) for number in range(-4, 5))

    @pytest.mark.parametrize("name", ["zstd", "kivi"])
    def test_a_codec_with_no_or_two_rate_parameters_has_none(self, name):
        with pytest.raises(CodecError, match="no one rate parameter"):
            rate_parameter(CODECS.get(name))

    def test_every_other_codec_has_one_and_takes_what_the_grid_gives(self, toy):
        for name in CODECS.names():
            codec_class = CODECS.get(name)
            try:
                grid = Grid(codec_class)
            except CodecError:
                continue
            if codec_class.unavailable() is None and "lmbda" not in grid.name:  # networks are trained for their own
                codec_class(toy.specs, codec_class.make_params(grid.params(0)))


class TestWalk:
    def test_it_ends_a_few_points_behind_where_retention_leaves_the_range_on_either_side(self, toy):
        found = lay_out(STEPS, toy, by_step(knee=2.0), {})
        kept = [point.retention for point in found.points]
        assert kept == sorted(kept, reverse=True)
        assert kept[2] > 0.995 >= kept[3]  # and two points beyond
        assert kept[-2] < 0.9 <= kept[-3]  # and one
        assert found.open_ends == []

    @pytest.mark.parametrize("knee", [0.03, 300.0])
    def test_it_goes_beyond_the_codecs_own_ladder_where_it_must(self, toy, knee):
        kept = [point.retention for point in lay_out(STEPS, toy, by_step(knee), {}).points]
        assert kept[0] > 0.995
        assert kept[-1] < 0.9

    def test_between_few_points_others_are_put(self, toy):
        def cliff(codec):
            kept = 1.0 if codec.params.step < 2.1 else 0.5
            return CalibrationScore(8 / codec.params.step, kept, kept)

        found = lay_out(STEPS, toy, cliff, {})
        steps = [point.params["step"] for point in found.points]
        spare = sum(ladder.SPARE_POINTS.values())
        assert 3 + spare <= len(steps) <= 2 * ladder.LEAST_POINTS + spare
        assert steps == sorted(steps)

    def test_what_was_measured_is_not_measured_again(self, toy):
        calls, kept = [], []
        score = by_step(knee=2.0)

        def counted(codec):
            if len(calls) == 3:
                raise KeyboardInterrupt
            calls.append(codec.params.step)
            return score(codec)

        with pytest.raises(KeyboardInterrupt):
            lay_out(STEPS, toy, counted, {}, keep=kept.append)
        assert [point.params["step"] for point in kept[-1].seen] == calls
        assert not kept[-1].complete
        again = []
        found = lay_out(STEPS, toy, lambda codec: again.append(codec.params.step) or score(codec), {}, kept[-1].seen)
        assert set(again).isdisjoint(calls)
        whole = lay_out(STEPS, toy, score, {})
        assert found == whole
        assert found.complete

    def test_an_end_where_the_parameter_runs_out_is_named(self, toy):
        def never(codec):
            return CalibrationScore(float(codec.params.points), 1.0, 1.0)

        assert lay_out(CODECS.get("kmeans"), toy, never, {}).open_ends == ["lowest"]


@pytest.fixture(scope="module")
def scores(toy, toy_data):
    return CalibrationScores(toy, lambda: load_model(toy), toy_data)


class TestScores:
    def test_uncoded_features_keep_everything_and_means_nothing(self, scores, toy):
        assert scores.of(CODECS.get("identity")(toy.specs)).retention == 1
        assert scores.of(CODECS.get("mean")(toy.specs)).retention == 0

    @pytest.mark.parametrize("ends", [{"identity": 0.5, "mean": 0.5}, {"identity": 0.9, "mean": 1.0}])
    def test_samples_that_tell_no_codecs_apart_are_said_in_one_line(self, ends, toy, toy_data, monkeypatch):
        scores = CalibrationScores(toy, lambda: load_model(toy), toy_data, limit=1)
        monkeypatch.setattr(scores, "_measured", lambda codec: (1.0, ends[codec.name]))
        with pytest.raises(ScenarioError, match="on 1 calibration samples, which tells no codecs apart"):
            scores.of(STEPS(toy.specs))

    def test_no_codec_is_scored_on_a_sample_that_it_was_fitted_to(self, scores, toy, toy_data):
        seen = []

        class Watching(Codec):
            name = "watching"
            needs_calibration = True

            def learn(self, calibration):
                seen.extend(features for features in calibration)
                return {"nothing": 0.0}

            def encode_tensor(self, spec, tensor):
                coded.append(tensor.float().numpy().tobytes())
                return tensor.float().numpy().tobytes()

            def decode_tensor(self, spec, payload, shape):
                return np.frombuffer(payload, np.float32).reshape(shape).copy()

        coded = []
        scores.of(Watching(toy.specs))
        fitted = {tensor.float().numpy().tobytes() for features in seen for tensor in features.tensors.values()}
        assert fitted.isdisjoint(coded)
        assert len(seen) == -(-len(open_split(toy, "calibration", toy_data)) // 2)

    def test_samples_that_come_in_turns_are_in_both_halves(self, scores, toy, toy_data):
        ids = [open_split(toy, "calibration", toy_data).sample_id(index) for index in range(scores.samples)]
        scored = [scores._scored.sample_id(index) for index in range(scores.samples)]
        assert {ids.index(id) % 2 for id in scored if id in ids} == {0, 1}

    def test_test_samples_are_not_opened(self, toy, toy_data, monkeypatch):
        from harness.running import calibration_scores

        opened = []

        def watched(scenario, split, data=None):
            opened.append(split)
            return open_split(scenario, split, data)

        monkeypatch.setattr(calibration_scores, "open_split", watched)
        CalibrationScores(toy, lambda: load_model(toy), toy_data).of(STEPS(toy.specs))
        assert opened == ["calibration"]


class TestCommand:
    @pytest.fixture
    def arguments(self, toy_file, toy_data, tmp_path):
        places = ["--ladders", str(tmp_path), "--data", str(toy_data)]
        return ["ladder", str(toy_file), "--codecs", "uniform", *places]

    def test_ladders_are_written_kept_and_run(self, toy, arguments, tmp_path, capsys):
        assert main(arguments) == 0
        path = ladder.ladder_path(tmp_path, toy, "uniform")
        assert capsys.readouterr().out.splitlines()[-1] == str(path)
        written = path.read_bytes()
        assert main(arguments) == 0
        assert path.read_bytes() == written
        assert capsys.readouterr().out.splitlines() == [str(path)]  # nothing was measured again
        codecs = selection.select_codecs(["uniform"], toy, ladders=tmp_path)
        assert [codec.params.step for codec in codecs] == [p["params"]["step"] for p in json.loads(written)["points"]]
        named = selection.select_codecs(["uniform:step=0.3", "channel"], toy, ladders=tmp_path)
        assert [codec.params.step for codec in named] == [0.3, *(p["step"] for p in CODECS.get("channel").rate_points)]
        named[0].save(tmp_path / "saved")
        (saved,) = selection.select_codecs([str(tmp_path / "saved")], toy, ladders=tmp_path)
        assert saved.fingerprint == named[0].fingerprint

    def test_what_an_edited_metric_or_model_would_score_otherwise_is_measured_anew(
        self, toy, arguments, tmp_path, capsys, monkeypatch
    ):
        assert main(arguments) == 0
        monkeypatch.setattr(calibration_scores, "code_of", lambda *_: {"metric_identity": "edited"})
        capsys.readouterr()
        assert main(arguments) == 0
        assert len(capsys.readouterr().out.splitlines()) > 1
        assert ladder.read_ladder(ladder.ladder_path(tmp_path, toy, "uniform")).identity["metric_identity"] == "edited"

    def test_an_unfinished_ladder_is_gone_on_with_and_not_run(self, toy, arguments, tmp_path):
        path = ladder.ladder_path(tmp_path, toy, "uniform")
        assert main(arguments) == 0
        whole = ladder.read_ladder(path)
        begun = {"points": whole.seen[:2], "seen": whole.seen[:2], "open_ends": [], "complete": False}
        ladder.write_ladder(path, whole.model_copy(update=begun))
        with pytest.raises(DataError, match="is unfinished"):
            selection.select_codecs(["uniform"], toy, ladders=tmp_path)
        assert main(arguments) == 0
        assert ladder.read_ladder(path) == whole

    def test_results_say_which_ladder_chose_their_rate_point(self, toy, tmp_path, make_runner):
        path = ladder.ladder_path(tmp_path / "ladders", toy, "uniform")
        made = lay_out(STEPS, toy, by_step(2.0), identity_on(toy))
        ladder.write_ladder(path, made)
        runner = make_runner(ladders=tmp_path / "ladders", verify_samples=0)
        step = made.points[0].params["step"]
        named = {f"uniform:step={step}": f"rule {ladder.RULE}, {made.digest}", "uniform:step=0.35": "the codec's own",
                 "uniform:step=0.123": "named"}  # fmt: skip
        for spec, told in named.items():
            (codec,) = selection.select_codecs([spec], toy)
            run = json.loads((runner.run_codec(codec).folder / "run.json").read_text())
            assert run["ladder"] == told

    def test_a_finished_result_is_of_the_ladder_that_asks_for_it_last(self, toy, tmp_path, make_runner):
        made = lay_out(STEPS, toy, by_step(2.0), identity_on(toy))
        ladder.write_ladder(ladder.ladder_path(tmp_path / "ladders", toy, "uniform"), made)
        (codec,) = selection.select_codecs([f"uniform:step={made.points[0].params['step']}"], toy)
        told = []
        for ladders in (None, tmp_path / "ladders", None):
            folder = make_runner(ladders=ladders, verify_samples=0).run_codec(codec).folder
            told.append(json.loads((folder / "run.json").read_text())["ladder"])
        assert told == ["named", *[f"rule {ladder.RULE}, {made.digest}"] * 2]

    @pytest.mark.parametrize("other", ["scenario_digest", "metric_identity", "adapter_identity"])
    def test_a_ladder_of_another_declaration_or_other_code_or_damaged_is_refused(self, toy, tmp_path, other):
        path = ladder.ladder_path(tmp_path, toy, "uniform")
        identity = identity_on(toy) | {other: "other"}
        ladder.write_ladder(path, lay_out(STEPS, toy, by_step(2.0), identity))
        with pytest.raises(DataError, match="lamofcbench ladder"):
            selection.select_codecs(["uniform"], toy, ladders=tmp_path)
        path.write_text("{}")
        with pytest.raises(DataError, match="is no ladder"):
            selection.select_codecs(["uniform"], toy, ladders=tmp_path)

    def test_a_codec_without_a_rate_parameter_is_told_before_anything_is_computed(self, toy_file, tmp_path, capsys):
        assert main(["ladder", str(toy_file), "--codecs", "zstd", "--ladders", str(tmp_path)]) == 1
        assert "no one rate parameter" in capsys.readouterr().err

    def test_a_limit_of_nothing_is_refused(self, toy_file, tmp_path, capsys):
        assert main(["ladder", str(toy_file), "--codecs", "uniform", "--limit", "0"]) == 1
        assert "--limit" in capsys.readouterr().err

    def test_processes_deal_out_the_codecs_of_a_scenario_and_come_to_the_same_ladders(
        self, toy_file, toy_data, tmp_path
    ):
        def laid_out(folder, rank, size):
            args = ["ladder", str(toy_file), "--codecs", "uniform", "channel", "--ladders", str(tmp_path / folder)]
            parsed = make_parser().parse_args([*args, "--data", str(toy_data), "--limit", "4"])
            team = SimpleNamespace(rank=rank, size=size, local_rank=0)
            ladder_command._lay_out(parsed, team, *ladder_command._plan(parsed))
            return {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*.json")}

        alone = laid_out("alone", 0, 1)
        assert sorted(alone) == ["channel.json", "uniform.json"]
        assert laid_out("shared", 0, 2) == {"uniform.json": alone["uniform.json"]}
        assert laid_out("shared", 1, 2) == alone
