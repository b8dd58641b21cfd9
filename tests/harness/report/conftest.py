"""Results folders for the report's tests; `synthetic_results` writes them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package, and two files share the writer

from synthetic_results import Writer, write_realistic


@pytest.fixture(scope="session")
def realistic_results(tmp_path_factory) -> Path:
    """Two scenarios (one metric that falls), codecs identity, mean, zstd, uniform and channel. Read only."""
    root = tmp_path_factory.mktemp("realistic")
    write_realistic(root)
    return root


@pytest.fixture
def writer(tmp_path) -> Writer:
    """Writes results of one small scenario into a fresh folder."""
    return Writer(tmp_path / "results", samples=60, test_samples=60)
