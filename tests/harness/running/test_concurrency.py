"""Runs into one results folder at once: they take turns, and leave what one run leaves."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaits

import pytest
from matplotlib.figure import Figure

from harness.report import write_report
from harness.report.render import plots
from harness.results import rescoring
from harness.results.store import read_consistently
from harness.running.pipeline import Pipeline
from lamofcbench.atomic import write_text
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import ResultsError
from lamofcbench.registry import load_file


@pytest.fixture
def pool():
    with ThreadPoolExecutor() as threads:
        yield threads


class Gate:
    """Where the first batch of all runs is held back."""

    def __init__(self):
        self.reached, self.opened, self.fails = threading.Event(), threading.Event(), False

    def wait(self):
        if not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(timeout=60)
            if self.fails:
                raise KeyboardInterrupt


@pytest.fixture
def gate(monkeypatch):
    gate, original = Gate(), Pipeline.run

    def run(self, batch):
        gate.wait()
        return original(self, batch)

    monkeypatch.setattr(Pipeline, "run", run)
    yield gate
    gate.opened.set()


def assert_waits(future, seconds=0.5):
    with pytest.raises(StillWaits):
        future.result(timeout=seconds)


@pytest.mark.parametrize("limits", [(None, None), (6, None), (None, 6)])
def test_the_second_run_waits_and_both_end_with_the_files_of_one(
    make_runner, toy, tmp_path, snapshot, pool, gate, computed_batches, caplog, limits
):
    codec = IdentityCodec(toy.specs)
    first = pool.submit(make_runner(limit=limits[0]).run_codec, codec)
    assert gate.reached.wait(timeout=60)
    second = pool.submit(make_runner(limit=limits[1]).run_codec, codec)
    assert_waits(second)
    assert f"waiting for process {os.getpid()} on " in caplog.text
    assert f"{codec!r} on {toy.ref} since" in caplog.text
    gate.opened.set()
    results = [future.result(timeout=60).result for future in (first, second)]
    assert [result.samples for result in results] == [limits[0] or 22, 22]
    assert sorted(computed_batches) == list(range(6))  # each once
    make_runner(results=tmp_path / "whole").run_codec(codec)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


def test_runs_that_take_their_codecs_in_other_orders_do_not_wait_in_a_ring(make_runner, toy, tmp_path, pool):
    codecs = [codec for spec in ("zstd:level=1", "kmeans:points=4") for codec in make_codecs(spec, toy.specs)]
    # Threads of one test share the process that decodes apart, which holds one codec at a time.
    runs = [pool.submit(make_runner(verify_samples=0).run, order) for order in (codecs, codecs[::-1], codecs)]
    folders = [{point.folder for point in run.result(timeout=120).points} for run in runs]
    assert len(folders[0]) == 2 and folders[0] == folders[1] == folders[2]
    assert not [path for path in (tmp_path / "results").rglob("*") if path.name.endswith((".tmp", ".holder"))]


def test_a_fit_happens_once(make_runner, toy, tmp_path, pool, monkeypatch):
    file = tmp_path / "slow_fit.py"
    file.write_text(
        "import threading, torch\n"
        "from lamofcbench.codecs.identity import IdentityCodec as Base\n"
        "FITS, BEGUN, GO = [], threading.Event(), threading.Event()\n"
        "class Slow(Base):\n"
        "    needs_calibration = True\n"
        "    def learn(self, calibration):\n"
        "        FITS.append(1); BEGUN.set(); GO.wait(60)\n"
        "        return {'draw': torch.rand(3) + len(FITS)}\n"
    )
    codec, module = make_codecs(f"{file}:Slow", toy.specs)[0], load_file(file)
    runs = [pool.submit(make_runner().run_codec, codec)]
    assert module.BEGUN.wait(timeout=60)
    runs.append(pool.submit(make_runner().run_codec, codec))
    assert_waits(runs[1])
    module.GO.set()
    assert len({run.result(timeout=60).folder for run in runs}) == 1
    assert len(module.FITS) == 1


def test_a_run_that_is_interrupted_lets_the_waiting_one_go_on(make_runner, toy, tmp_path, snapshot, pool, gate):
    codec, gate.fails = IdentityCodec(toy.specs), True
    first = pool.submit(make_runner().run_codec, codec)
    assert gate.reached.wait(timeout=60)
    second = pool.submit(make_runner().run_codec, codec)
    assert_waits(second)
    gate.opened.set()
    with pytest.raises(KeyboardInterrupt):
        first.result(timeout=60)
    assert second.result(timeout=60).result.samples == 22
    make_runner(results=tmp_path / "whole").run_codec(codec)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


def test_computing_everything_anew_twice_at_once_computes_it_twice_in_turn(
    make_runner, toy, tmp_path, snapshot, pool, gate, computed_batches
):
    codec = IdentityCodec(toy.specs)
    runs = [pool.submit(make_runner(overwrite="always").run_codec, codec) for _ in range(2)]
    assert gate.reached.wait(timeout=60)
    gate.opened.set()
    for run in runs:
        assert run.result(timeout=60).result.samples == 22
    assert computed_batches == 2 * list(range(6))
    make_runner(results=tmp_path / "whole").run_codec(codec)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


def test_new_scores_wait_for_the_run_that_writes_there_and_reading_waits_for_nobody(
    make_runner, toy, pool, gate, tmp_path
):
    codec = IdentityCodec(toy.specs)
    gate.opened.set()
    folder = make_runner(limit=6).run_codec(codec)
    gate.reached, gate.opened = threading.Event(), threading.Event()
    longer = pool.submit(make_runner().run_codec, codec)
    assert gate.reached.wait(timeout=60)
    stored = make_runner().fitted(codec)[1]
    assert stored.path == folder.folder
    assert rescoring.rescore(stored, toy).samples == 6  # while the longer run computes
    update = pool.submit(rescoring.rescore, stored, toy, update=True)
    assert_waits(update)
    gate.opened.set()
    assert update.result(timeout=60).samples == longer.result(timeout=60).result.samples == 22


def test_reports_at_once_leave_the_files_of_one(make_runner, toy, toy_file, tmp_path, pool, monkeypatch):
    make_runner().run([])
    monkeypatch.setattr(plots, "scenario_figure", lambda *_: Figure((1, 1)))
    monkeypatch.setattr(plots, "overview_figure", lambda *_: Figure((1, 1)))
    save, inside = plots.save_png, []

    def save_alone(*arguments):
        inside.append("begins")
        time.sleep(0.05)  # long enough for the other one to come in between
        save(*arguments)
        inside.append("ends")

    monkeypatch.setattr(plots, "save_png", save_alone)
    reports = [pool.submit(write_report, tmp_path / "results", scenarios=[toy], resamples=0) for _ in range(2)]
    for report in reports:
        report.result(timeout=60)
    assert inside == 4 * ["begins", "ends"]
    written = sorted(path.name for path in (tmp_path / "results" / "report").iterdir())
    assert written == [".locks", "curves-toy-directions.png", "curves.png", "index.html", "report.md", "summary.json"]


def test_what_a_run_replaces_while_it_is_read_is_read_again(tmp_path):
    file = tmp_path / "result.json"
    write_text(file, "old")

    def read():
        found = file.read_text()
        if found == "old":
            write_text(file, "newer")
            raise ResultsError("its samples are of another run")
        if found == "newer":
            write_text(file, "newest")
        return found

    assert read_consistently(tmp_path, read) == "newest"


def test_what_is_wrong_and_does_not_change_is_an_error_at_once(tmp_path):
    def read():
        raise ResultsError("damaged")

    with pytest.raises(ResultsError, match="damaged"):
        read_consistently(tmp_path, read)


def test_finished_results_are_read_where_nothing_may_be_written(make_runner, toy, monkeypatch):
    """A read-only folder: no lock is taken, nothing is touched."""
    codecs = make_codecs("kmeans:points=4", toy.specs)
    first = make_runner().run(codecs)

    def refuse(*_, **__):
        raise AssertionError("a lock")

    monkeypatch.setattr("harness.results.store.locked", refuse)
    monkeypatch.setattr("harness.running.runner.locked", refuse)
    assert make_runner().run(codecs) == first
