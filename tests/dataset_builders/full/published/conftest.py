"""A folder of published files, as their authors wrote them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import published_layout as layout


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()

    def write(files):
        for name, content in files.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else layout.saved(content))
        return folder

    return write
