"""Saved folders from anyone: each is loaded or refused with one short line, whatever it holds."""

import json
import os
import random

import pytest
import torch
from safetensors.torch import save_file

from lamofcbench.codecs import conformance
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import CODECS, load_saved, make_codecs
from lamofcbench.codecs.saving import CONFIG_FILE, MAX_CONFIG_BYTES, STATE_FILE
from lamofcbench.errors import CodecError, LaMoFCBenchError

DEEP = "[" * 200_000
LONGEST_LINE = 1000


@pytest.fixture(scope="module")
def channel_codec():
    return conformance.fitted(CODECS.get("channel"))


@pytest.fixture
def saved(channel_codec, tmp_path):
    return channel_codec.save(tmp_path / "saved")


@pytest.fixture
def config(saved):
    return json.loads((saved / CONFIG_FILE).read_text())


def refusal(folder, load=load_saved):
    """The line with which a folder is refused; None where it is loaded."""
    try:
        load(folder)
    except LaMoFCBenchError as error:
        assert "\n" not in str(error) and len(str(error)) <= LONGEST_LINE
        return str(error)
    return None


def test_the_folder_itself_is_fine(saved):
    assert refusal(saved) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DEEP, "nested too deeply"),
        ('{"codec": ' + DEEP, "nested too deeply"),
        ("[]", "no JSON object"),
        ('{"codec": "uniform"}', "lacks 'codec_class'"),
        ("\0", "missing or damaged"),
        ('{"codec": ' + "9" * 5000 + "}", "missing or damaged"),
        (" " * (MAX_CONFIG_BYTES + 1), "larger than"),
    ],
    ids=["deep", "deep within", "an array", "incomplete", "no JSON", "a long number", "large"],
)
def test_a_config_that_is_no_config_is_refused(saved, text, message):
    (saved / CONFIG_FILE).write_text(text)
    assert message in refusal(saved)
    assert message in refusal(saved, Codec.from_pretrained)


def test_a_config_that_is_no_text_or_no_file_is_refused(saved):
    (saved / CONFIG_FILE).write_bytes(b"\xff\xfe")
    assert "no saved codec" in refusal(saved)
    (saved / CONFIG_FILE).unlink()
    assert "no saved codec" in refusal(saved)
    os.mkfifo(saved / CONFIG_FILE)
    assert "it is no file" in refusal(saved)


@pytest.mark.parametrize("key", ["codec_params", "feature_specs", "codec_identity", "codec_source"])
@pytest.mark.parametrize("depth", [400, 900])
def test_any_part_nested_deeply_is_refused(saved, config, key, depth):
    nested = json.dumps({**config, key: "HERE"}).replace('"HERE"', '{"a":' * depth + "1" + "}" * depth)
    (saved / CONFIG_FILE).write_text(nested)
    assert refusal(saved) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": "no-such"}, "unknown codec 'no-such'"),
        ({"codec": ".."}, "unknown codec '..'"),
        ({"codec": "x" * 100_000}, "unknown codec 'xxx"),
        ({"codec": None}, "not named by text"),
        ({"codec": "uniform"}, "damaged: it is of lamofcbench:channel@2, and what it names is lamofcbench:uniform@2"),
        ({"codec_params": [1]}, "takes its ChannelParams or a mapping"),
        ({"codec_params": {"step": {"a": "x" * 100_000}}}, "step: "),
        ({"codec_params": {"x" * 100_000: 1}}, "unknown parameter"),
        ({"feature_specs": None}, "feature_specs: "),
        ({"feature_specs": {"tensors": []}}, "feature_specs: tensors: "),
        ({"fingerprint": None}, "does not match its fingerprint"),
        ({"fingerprint": "00" * 32}, "does not match its fingerprint"),
    ],
)
def test_a_config_that_says_something_else_is_refused(saved, config, change, message):
    (saved / CONFIG_FILE).write_text(json.dumps({**config, **change}))
    assert message in refusal(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [-1]}, "feature_specs: tensors.0.shape.0"),
        ({"shape": [2**40]}, "feature_specs: tensors.0.shape.0"),
        ({"shape": [1] * 33}, "feature_specs: tensors.0.shape"),
        ({"shape": "wide"}, "feature_specs: tensors.0.shape"),
        ({"name": "x" * 100_000}, "feature_specs: tensors.0.name"),
        ({"name": "../x"}, "feature_specs: tensors.0.name"),
        ({"dtype": "int64"}, "feature_specs: tensors.0.dtype"),
        ({"more": 1}, "feature_specs: tensors.0.more"),
    ],
)
def test_a_bad_feature_spec_is_one_line_that_says_where(saved, config, change, message):
    config["feature_specs"]["tensors"][0].update(change)
    (saved / CONFIG_FILE).write_text(json.dumps(config))
    assert message in refusal(saved)


def test_an_installed_codecs_name_runs_no_file(saved, config, tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    (saved / CONFIG_FILE).write_text(json.dumps({**config, "codec": f"{tmp_path}/evil.py:Evil"}))
    assert "in place of an installed codec" in refusal(saved)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((2,), float("nan")), "NaN or infinity"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
        (torch.ones(2, 0), "damaged"),
        (torch.tensor(True), "damaged"),
    ],
)
@pytest.mark.parametrize("name", ["steps", "frequencies", "mean.hidden", "table.hidden"])
def test_a_state_that_is_no_state_is_refused(saved, channel_codec, name, value, message):
    save_file({**channel_codec.state, name: value}, saved / STATE_FILE)
    assert message in refusal(saved)


def test_a_state_that_is_no_file_is_refused(saved):
    (saved / STATE_FILE).unlink()
    assert f"no file {STATE_FILE}" in refusal(saved)
    os.mkfifo(saved / STATE_FILE)
    assert f"no file {STATE_FILE}" in refusal(saved)


@pytest.mark.parametrize("file", [CONFIG_FILE, STATE_FILE])
def test_mutated_files_raise_nothing_else(saved, file):
    generator = random.Random(11)
    whole = (saved / file).read_bytes()
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(generator.choice((1, 1, 4))):
            content[generator.randrange(min(len(content), generator.choice((8, 300, len(content)))))] = (
                generator.randrange(256)
            )
        (saved / file).write_bytes(content[: generator.choice((len(content), generator.randrange(len(content))))])
        refusal(saved)


@pytest.mark.parametrize("place", ["x" * 100_000, "a\0b", ""])
def test_a_place_that_can_be_none_is_refused(place):
    assert "no saved codec" in refusal(place)


def test_what_the_hub_lacks_is_named(hub):
    with pytest.raises(CodecError, match="from the Hub: there is no such repository, or the token may not see it"):
        make_codecs("org/absent", conformance.SPECS)
    hub.repository("org/codec", "model")
    with pytest.raises(CodecError, match="from the Hub: it has no such branch or commit; a commit has 40 hex digits"):
        make_codecs("org/codec@abcdef12", conformance.SPECS)


@pytest.mark.parametrize("id", ["no-such/repository", "a" * 500 + "/b", "a--b/c", "a/b..c"])
def test_a_hub_repository_that_is_not_there_is_one_line(id, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CodecError, match="is no folder, nor can it be had from the Hub") as caught:
        make_codecs(id, conformance.SPECS)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= LONGEST_LINE
