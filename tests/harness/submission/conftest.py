"""One small real run and its submission, shared by all; a test that spoils one spoils a copy."""

import shutil

import pytest

from harness.results.result import ANCHOR, FLOOR
from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from harness.submission.pack import Author, pack
from harness.submission.validate import Scrutiny, validate
from lamofcbench.codecs.registry import make_codecs

SEED = 7
PLACES = {"uniform": 2, ANCHOR: 1, FLOOR: 1}
AUTHOR = Author(
    name="my-uniform",
    display_name="My uniform",
    organisation="Institute of Things",
    link="https://example.org/my-uniform",
    commit="0123456789abcdef0123456789abcdef01234567",
)


@pytest.fixture(scope="session")
def run_results(toy, toy_data, decoder, tmp_path_factory):
    """Two rate points of a shipped codec that learns, with anchor and floor."""
    folder = tmp_path_factory.mktemp("submitted") / "results"
    settings = RunSettings(results=folder, data=toy_data, progress=False)
    codecs = [make_codecs(f"uniform:step={step}", toy.specs)[0] for step in (0.25, 1.0)]
    ScenarioRunner(toy, settings, decoder=decoder).run(codecs)
    return folder


@pytest.fixture(scope="session")
def packed(run_results, tmp_path_factory):
    """The submission's folder; no test changes it."""
    return pack(run_results, tmp_path_factory.mktemp("packed"), AUTHOR)


@pytest.fixture
def submission(packed, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(packed, tmp_path / "submissions" / packed.name)


@pytest.fixture
def scrutiny(toy, toy_data):
    """Everything is decoded and predicted anew."""
    return Scrutiny(data=toy_data, scenarios=(toy,), seed=SEED, full=True)


@pytest.fixture
def verdict_on(scrutiny, decoder):
    """What a submission comes to."""
    return lambda folder, look=scrutiny: validate(folder, look, decoder)
