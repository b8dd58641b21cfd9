"""Every test runs offline, on one thread, with caches of the test run's own and no token."""

import contextlib
import os
from pathlib import Path

import pytest

# Constants of huggingface_hub are read at its first import, so these must stand before any.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("HF_TOKEN", None)
os.environ.pop("LAMOFCBENCH_HEADS", None)

LONGEST_FILES = (
    "test_mini_edition.py",
    "test_readme.py",
    "test_conformance.py",
    "test_mini_models.py",
    "test_prose_data.py",
    "test_launch.py",
    "test_train_command.py",
    "test_codec_properties.py",
    "test_small_edition.py",
    "test_interruptions.py",
    "test_hostile_input.py",
    "test_edition_leaderboard.py",
    "test_resume.py",
)
"""The longest first; `pytest --durations=50` tells when this is no longer so."""


def pytest_collection_modifyitems(config, items):
    """Files that take minutes go first: processes that share out files would wait for one that began last.

    Slow tests run only where ``-m`` names them.
    """
    if "slow" not in config.getoption("markexpr"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: runs with -m slow"))
    order = {name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _isolated_caches(tmp_path_factory):
    """Caches and pins under the run's temporary folder; what is built on demand is built there once for all workers.

    Archives that a person put where builders look for them stay where they are.
    """
    import torch

    from lamofcbench.storage.cache import sources_folder

    torch.set_num_threads(1)
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    settings = {"LAMOFCBENCH_CACHE": shared / "lamofcbench-cache", "HF_HOME": base / "hf-home"}
    settings["LAMOFCBENCH_SOURCES"] = sources_folder()
    settings["LAMOFCBENCH_PINS"] = base / "pins.json"
    import datasets

    datasets.config.HF_DATASETS_CACHE = base / "hf-home" / "datasets"
    with pytest.MonkeyPatch.context() as patch:
        for name, path in settings.items():
            patch.setenv(name, str(path))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """No test outlives a power failure, and each wait takes milliseconds; `test_atomic` holds that there is one."""
    from lamofcbench import atomic

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "_sync", lambda number: None)
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).parent.parent


@pytest.fixture
def hub(tmp_path):
    """A Hub on the loopback device that the client of this process talks to, as user ``owner``."""
    from loopback_hub import LoopbackHub, connected

    with connected(LoopbackHub(), tmp_path / "hub-cache") as found:
        yield found


@pytest.fixture
def file_size_limit():
    """Makes writing fail where a file would become larger, as a full disk does; Python ignores the signal for it."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def small_model(_isolated_caches) -> Path:
    """The converted model of the small edition; tests that ask for it are skipped where its package is missing."""
    from dataset_builders.small._model import converted_model, packaged_weights
    from lamofcbench.errors import DataError

    try:
        packaged_weights()
    except DataError as error:
        pytest.skip(str(error))
    return converted_model()
