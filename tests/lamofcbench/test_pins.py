"""A user's pins: read safely, written one at a time, asked of the Hub."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from lamofcbench.errors import DataError, LaMoFCBenchError
from lamofcbench.pins import current_commit, pins_file, read_pins, write_pin

ONE, TWO = "1" * 40, "2" * 40


def test_pins_are_written_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMOFCBENCH_PINS", str(tmp_path / "new" / "pins.json"))
    assert read_pins() == {}
    assert write_pin("org/b", ONE) is None and write_pin("org/a", TWO) is None
    assert write_pin("org/b", TWO) == ONE
    assert json.loads(pins_file().read_text()) == {"org/a": TWO, "org/b": TWO} == read_pins()


def test_the_file_has_a_place_of_its_own(monkeypatch):
    monkeypatch.delenv("LAMOFCBENCH_PINS")
    assert pins_file().parts[-3:] == (".config", "lamofcbench", "pins.json")


@pytest.mark.parametrize("content", ["[]", "{", '{"a/b": "main"}', '{"a/b": 1}', "\xff", "[" * 100000])
def test_what_are_no_pins_is_one_clear_line(tmp_path, content):
    file = tmp_path / "pins.json"
    file.write_text(content, encoding="latin-1")
    for ask in (lambda: read_pins(file), lambda: write_pin("a/b", ONE, file)):
        with pytest.raises(DataError, match=r"pins\.json") as error:
            ask()
        assert "\n" not in str(error.value)
    assert file.read_text(encoding="latin-1") == content


def test_without_a_network_the_user_reads_what_to_write(tmp_path, monkeypatch):
    """The tests run offline."""
    monkeypatch.setenv("LAMOFCBENCH_PINS", str(tmp_path / "pins.json"))
    with pytest.raises(LaMoFCBenchError, match=r"the Hub for the commit of org/name: .*offline") as error:
        current_commit("org/name")
    assert f'write {{"org/name": "COMMIT"}} into {tmp_path}' in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("answer", [ONE, None, "main"])
def test_the_hub_is_asked_for_a_branch(monkeypatch, answer):
    import huggingface_hub

    asked = []

    def model_info(self, repo, **options):
        asked.append((repo, options["revision"]))
        return SimpleNamespace(sha=answer)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    if answer == ONE:
        assert current_commit("org/name", "a-branch") == ONE
        assert asked == [("org/name", "a-branch")]
    else:
        with pytest.raises(LaMoFCBenchError, match="no 40-digit commit"):
            current_commit("org/name")
