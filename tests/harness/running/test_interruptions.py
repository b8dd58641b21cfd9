"""Work that dies between any two of its file operations: the next run ends as if nothing had happened.

`test_resume` kills processes; here every single moment has its turn, in this process, by an error that no operation
survives from then on.
"""

import shutil
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.results import rescoring
from harness.running import environment
from lamofcbench import atomic
from lamofcbench.codecs.registry import make_codecs

FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


class Died(BaseException):
    """What kills the work; nothing of ours catches it."""


class Death:
    """Counts the file operations under a folder; from a given one on each fails."""

    def __init__(self):
        self.folder, self.at, self.count = None, None, 0

    def watch(self, event, arguments):
        if self.folder is None or event not in FILE_EVENTS or not str(arguments[0]).startswith(self.folder):
            return
        self.count += 1
        if self.at is not None and self.count >= self.at:
            raise Died

    def during(self, work, folder, at=None):
        """Does the work; how many operations it took, or None if it died."""
        self.folder, self.at, self.count = str(folder), at, 0
        try:
            work()
        except Died:
            return None
        finally:
            self.folder = None
        return self.count


@pytest.fixture(scope="module")
def death():
    death = Death()
    sys.addaudithook(death.watch)  # for good, but it watches nothing outside of `during`
    return death


@pytest.fixture
def dies_everywhere(death, tmp_path, snapshot, monkeypatch):
    """Lets work die at each of its operations, resumes it, and compares with what undisturbed work leaves."""

    def check(work, resume, before, most=1000):
        whole = tmp_path / "whole"
        prepare(before, whole)
        operations = death.during(lambda: work(whole), whole)
        assert operations > 5
        for at in range(1, min(most, operations) + 1):
            results = tmp_path / "results"
            prepare(before, results)
            assert death.during(lambda folder=results: work(folder), results, at) is None
            with monkeypatch.context() as patch:
                patch.setattr(atomic, "is_running", lambda _: False)  # this process stands for a dead one
                resume(results)
            assert files(results) == files(whole), f"died at operation {at} of {operations}"

    def files(folder):  # a journal, which a limited run keeps, tells seconds
        return {name: None if "/journal/" in name else found for name, found in snapshot(folder).items()}

    def prepare(before, folder):
        shutil.rmtree(folder, ignore_errors=True)
        if before is not None:
            shutil.copytree(before, folder)

    return check


@pytest.fixture
def run(make_runner, toy, monkeypatch):
    monkeypatch.setattr(environment, "describe", lambda _: {})
    (codec,) = make_codecs("mean", toy.specs)
    return lambda results, **settings: make_runner(results=results, **settings).run_codec(codec)


def test_a_new_result(run, dies_everywhere):
    dies_everywhere(lambda folder: run(folder, limit=3), lambda folder: run(folder, limit=3), None)


def test_a_longer_result(run, dies_everywhere, tmp_path):
    run(tmp_path / "before", limit=20)
    dies_everywhere(run, run, tmp_path / "before")


def test_a_result_that_is_computed_anew(run, dies_everywhere, tmp_path):
    run(tmp_path / "before", limit=3)

    def renew(folder):
        run(folder, limit=3, overwrite="always")

    # Once the earlier result is removed, all is as for a new one.
    dies_everywhere(renew, lambda folder: run(folder, limit=3), tmp_path / "before", most=20)


def test_new_scores(run, dies_everywhere, make_runner, toy, tmp_path):
    folder = run(tmp_path / "before").folder
    table = pq.read_table(folder / "samples.parquet")
    place = table.schema.get_field_index("statistic.correct")
    wrong = pa.array([0.0] * len(table))
    pq.write_table(table.set_column(place, table.schema.field(place), wrong), folder / "samples.parquet")

    def update(results):
        (codec,) = make_codecs("mean", toy.specs)
        stored = make_runner(results=results).fitted(codec)[1]
        rescoring.rescore(stored, toy, update=True)

    dies_everywhere(update, update, tmp_path / "before")
