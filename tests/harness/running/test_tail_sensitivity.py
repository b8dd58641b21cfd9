"""The sensitivity of a tail: computed once from calibration samples alone, in shards, and handed to codecs that ask."""

import json
import logging

import numpy as np
import pytest
import torch

from harness.running import sensitivity
from harness.running.launch import Team
from harness.running.progress import Progress
from harness.running.runner import ScenarioRunner
from harness.running.selection import select_codecs
from harness.running.sensitivity import TailSensitivity
from harness.running.settings import RunSettings
from lamofcbench.codecs.klt_task import KltTaskCodec
from lamofcbench.codecs.transform.profiles import MIDDLE
from lamofcbench.errors import ResultsError, ScenarioError
from lamofcbench.models.loading import load_model
from lamofcbench.storage import reader


@pytest.fixture
def tail(responding, responding_data, tmp_path):
    return lambda name="one": TailSensitivity(
        responding, responding_data, lambda: load_model(responding), tmp_path / name
    )


class Rank(Team):
    """One of several processes, which run one after the other."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


def values(found):
    return [a.tobytes() for each in found.groups for a in (each.squares, each.counts, each.scale)]


def test_it_is_large_where_the_tail_looks(tail, responding):
    found = tail().computed()
    known = found.of("hidden")
    metric, columns = known.metric(MIDDLE), known.group.columns["hidden"]
    prototypes = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(7)))[0][:4].numpy()
    gradients = metric[columns, columns]
    assert np.trace(prototypes @ gradients @ prototypes.T) == pytest.approx(np.trace(gradients), rel=1e-4)


def test_it_is_computed_once_for_scenario_data_and_code(tail, monkeypatch):
    first = tail().computed()
    monkeypatch.setattr(TailSensitivity, "_planned", None)
    assert values(tail().computed()) == values(first)
    monkeypatch.undo()
    other = tail()
    monkeypatch.setattr(sensitivity, "REVISION", sensitivity.REVISION + 1)
    assert tail().origin != other.origin


def test_a_damaged_file_is_computed_anew(tail):
    first = values(tail().computed())
    tail().file.write_bytes(tail().file.read_bytes()[:-1])
    assert values(tail().computed()) == first


def test_the_number_of_processes_changes_no_bit(tail):
    alone = tail().computed()
    shared = tail("shared")
    chosen = shared._planned()
    for rank in (1, 2, 0):
        shared._compute_shards(chosen, Rank(rank, 3))
    shared._finish(chosen)
    assert values(shared.read()) == values(alone)


def test_halves_are_of_even_and_of_odd_samples_however_few_batches_there_are(tail, responding):
    known = tail().computed().of("hidden")
    rows = [len(known.group.gather(tail()._split.features(number))) for number in range(len(tail()._split))]
    assert len(rows) <= 3 * responding.batch_size
    drafts = len(tail()._planned().steps)
    assert known.counts.sum(1).tolist() == [drafts * sum(rows[half::2]) for half in (0, 1)]
    assert known.has_halves


def test_a_killed_run_goes_on_with_the_shards_that_are_missing(tail, monkeypatch):
    whole = tail().computed()
    original, left = sensitivity.write_bytes, [1]

    def killed(file, content):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        original(file, content)

    monkeypatch.setattr(sensitivity, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        tail("killed").computed()
    written = []
    monkeypatch.setattr(
        sensitivity, "write_bytes", lambda file, content: (written.append(file), original(file, content))
    )
    assert values(tail("killed").computed()) == values(whole)
    shards = [f"{shard}.safetensors" for shard in range(1, sensitivity.SHARDS)]  # the first was done
    assert [file.name for file in written] == shards


def test_a_damaged_shard_goes_and_is_computed_again(tail):
    whole, one = tail().computed(), tail("damaged")
    chosen = one._planned()
    one._compute_shards(chosen, Rank(0, 1))
    path = one._shard_file(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ResultsError, match=r"1\.safetensors was damaged and is removed; rerun the same command"):
        one._finish(chosen)
    assert not path.exists() and values(tail("damaged").computed()) == values(whole)


def test_no_test_split_is_opened(tail, monkeypatch):
    opened, original = [], reader.SplitReader.__init__

    def guard(self, scenario, split, source):
        opened.append(split)
        original(self, scenario, split, source)

    monkeypatch.setattr(reader.SplitReader, "__init__", guard)
    tail().computed()
    assert set(opened) == {"calibration"}


def test_a_run_hands_it_to_codecs_that_ask_and_says_so(make_runner, responding, responding_data):
    runner = make_runner(responding, data=responding_data)
    codec = KltTaskCodec(responding.specs, {"step": 1.0})
    finished = runner.run_codec(codec)
    assert finished.result.codec.name == "klt-task"
    record = json.loads((finished.folder / "codec" / "fit.json").read_text())
    assert record["sensitivity"] == runner._tail_sensitivity.origin
    plain = runner.run_codec(*select_codecs(["klt:step=1"], responding))
    assert "sensitivity" not in json.loads((plain.folder / "codec" / "fit.json").read_text())
    again = make_runner(responding, data=responding_data)
    assert again.fitted(codec)[0].fingerprint.hex() == finished.result.codec.fingerprint


def test_a_run_tells_when_it_is_computed_and_not_when_it_is_there(responding, responding_data, tmp_path):
    class Told(Progress):
        consulted = 0

        def consult_tail(self, scenario):
            self.consulted += scenario is responding

    told = Told()
    for step in (1.0, 2.0):
        settings = RunSettings(results=tmp_path / "results", data=responding_data)
        ScenarioRunner(responding, settings, progress=told).run_codec(KltTaskCodec(responding.specs, {"step": step}))
    assert told.consulted == 1


def test_a_tail_without_responses_is_one_clear_error(make_runner, toy):
    with pytest.raises(ScenarioError, match="ToyModel' shows no responses"):
        make_runner().run_codec(KltTaskCodec(toy.specs, {"step": 1.0}))


def test_all_codecs_are_those_that_the_tail_can_serve(toy, responding, caplog):
    with caplog.at_level(logging.WARNING):
        names = {codec.name for codec in select_codecs(["all"], toy, points=1)}
    assert "klt-task" not in names and "klt" in names
    assert "klt-task is left out: the split model of toy-directions shows no responses" in caplog.text
    assert "klt-task" in {codec.name for codec in select_codecs(["all"], responding, points=1)}
