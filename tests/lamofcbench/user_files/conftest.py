"""A folder of a user's own modules."""

import textwrap
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes files under the test's folder, or another one; returns the folder."""

    def put(files: dict[str, str], folder: Path = tmp_path) -> Path:
        for name, source in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        return folder

    return put
