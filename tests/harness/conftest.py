import hashlib
from pathlib import Path

import pytest

from harness.running import decoding_process, evaluation, runner
from harness.running.decoding_process import DecodingProcess
from harness.running.pipeline import Pipeline
from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from lamofcbench.builders import BUILDERS
from lamofcbench.scenarios.base import SCENARIOS


class KeptProcess(DecodingProcess):
    """One for all tests: each start takes the seconds of importing torch."""

    def __exit__(self, *error):
        """A run that is over leaves it to the next test."""


MACHINE_DEPENDENT = {"timings.parquet", "run.json"}


@pytest.fixture(scope="session")
def toy_file(repository) -> str:
    """A user's scenario, as the command line names it."""
    return f"{repository / 'tests' / 'data' / 'toy_scenario.py'}:TOY"


@pytest.fixture(scope="session")
def toy(toy_file):
    return SCENARIOS.get(toy_file)


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Builds the data of a scenario into a folder of its own."""

    def built(scenario) -> Path:
        folder = tmp_path_factory.mktemp(scenario.id)
        BUILDERS.get(scenario.builder, relative_to=scenario.origin)().build(scenario, folder, progress=False)
        return folder

    return built


@pytest.fixture(scope="session")
def toy_data(toy, build) -> Path:
    return build(toy)


@pytest.fixture(scope="session")
def responding(repository):
    """The toy scenario with a model that shows responses."""
    return SCENARIOS.get(f"{repository / 'tests' / 'data' / 'responding_scenario.py'}:RESPONDING")


@pytest.fixture(scope="session")
def responding_data(responding, build) -> Path:
    return build(responding)


@pytest.fixture(scope="session")
def decoder():
    """The process that decodes apart."""
    process = KeptProcess()
    yield process
    process.close()


@pytest.fixture(autouse=True)
def _one_process_decodes_apart(decoder, monkeypatch):
    for module in (decoding_process, evaluation, runner):
        monkeypatch.setattr(module, "DecodingProcess", lambda: decoder)


@pytest.fixture
def make_runner(toy, toy_data, tmp_path):
    """A runner of the toy scenario; settings by keyword, results in the test's own folder."""

    def make(scenario=toy, **settings) -> ScenarioRunner:
        defaults = {"results": tmp_path / "results", "data": toy_data, "progress": False}
        return ScenarioRunner(scenario, RunSettings(**(defaults | settings)))

    return make


@pytest.fixture(scope="session")
def snapshot():
    """What a results folder holds, by relative path: hashes of all that machine and load must not change."""

    def take(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in MACHINE_DEPENDENT and path.relative_to(folder).parts[0] != ".locks"
        }

    return take


@pytest.fixture
def computed_batches(monkeypatch):
    """The numbers of the batches that go through the pipeline, in order."""
    numbers = []
    original = Pipeline.run

    def run(self, batch):
        numbers.append(batch.number)
        return original(self, batch)

    monkeypatch.setattr(Pipeline, "run", run)
    return numbers


@pytest.fixture
def killed_after(monkeypatch):
    """Makes the n-th batch of a run fail, as an interruption would."""

    def arm(batches):
        original, left = Pipeline.run, [batches]

        def run(self, batch):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return original(self, batch)

        monkeypatch.setattr(Pipeline, "run", run)
        return lambda: monkeypatch.setattr(Pipeline, "run", original)

    return arm
