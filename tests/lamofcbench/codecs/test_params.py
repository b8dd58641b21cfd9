"""Parameters of codecs: what can be declared, and that every way to give them is the same codec."""

import dataclasses
import enum
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import numpy as np
import pytest
import torch
from pydantic import Field

from harness.commands import codecs as codecs_command
from harness.results.result import CodecRecord
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.conformance_samples import SPECS
from lamofcbench.codecs.params import as_text, to_plain
from lamofcbench.codecs.registry import parse_codec_spec
from lamofcbench.codecs.saving import read_config
from lamofcbench.errors import CodecError, PluginError


class Mode(enum.Enum):
    FAST = "fast"
    LEVEL = 2


class Shape(enum.Enum):
    WIDE = (1, 2)


@dataclass(frozen=True)
class Inner:
    gain: float = 1
    mode: Mode = Mode.FAST


@dataclass(frozen=True)
class Tree:
    branches: "tuple[Tree, ...]" = ()


@dataclass
class Changeable:
    gain: float = 1.0


Count = NewType("Count", int)


def params_of(annotation, default, **more):
    """A frozen dataclass with one field, ``value``."""
    return dataclasses.make_dataclass("Params", [("value", annotation, default)], frozen=True, **more)


def codec_class_of(params_class):
    return type("OfParamsCodec", (Codec,), {"Params": params_class})


def saved_and_loaded(codec, folder):
    codec.save(folder)
    return type(codec).from_config(read_config(folder), folder)


# ------------------------------------------------------------------------------------------------------ what works

WORKING = {
    "an integer for a float": (float, 1, 1.0),
    "a float": (float, 0.1, 0.1),
    "infinity": (float, float("-inf"), "-inf"),
    "negative zero": (float, -0.0, -0.0),
    "a numpy float": (float, np.float32(0.5), 0.5),
    "a numpy integer": (int, np.int64(3), 3),
    "a numpy bool": (bool, np.True_, True),
    "an integer beyond 64 bits": (int, 10**30, 10**30),
    "text": (str, "a b", "a b"),
    "text that reads like null": (str | None, "null", "null"),
    "a path": (Path, Path("weights/a.bin"), "weights/a.bin"),
    "text for a path": (Path, "weights/a.bin", "weights/a.bin"),
    "an enum of text": (Mode, Mode.FAST, "fast"),
    "an enum of integers": (Mode, Mode.LEVEL, 2),
    "a literal of integers": (Literal[1, 2], 2, 2),
    "nothing": (float | None, None, None),
    "something optional": (float | None, 1, 1.0),
    "a tuple": (tuple[float, ...], (1, 2.5), [1.0, 2.5]),
    "a list for a tuple": (tuple[int, str], [1, "a"], [1, "a"]),
    "a frozen set": (frozenset[str], frozenset({"b", "a"}), ["a", "b"]),
    "a dataclass": (Inner, Inner(gain=2), {"gain": 2.0, "mode": "fast"}),
    "dataclasses in a tuple": (tuple[Inner, ...], (Inner(),), [{"gain": 1.0, "mode": "fast"}]),
    "a dataclass of itself": (Tree, Tree((Tree(),)), {"branches": [{"branches": []}]}),
    "a new type": (Count, 3, 3),
    "a constrained float": (Annotated[float, Field(gt=0)], 1, 1.0),
}


@pytest.mark.parametrize(("annotation", "value", "plain"), WORKING.values(), ids=WORKING)
def test_a_value_is_the_same_however_it_is_given_and_after_saving(annotation, value, plain, tmp_path):
    as_default = field(default_factory=lambda: value)
    params_class = params_of(annotation, as_default)
    codec_class = codec_class_of(params_class)
    codec = codec_class(SPECS)
    assert json.dumps(to_plain(codec.params)) == json.dumps({"value": plain})
    given = (params_class(), params_class(value), {"value": value}, codec.params, {"value": as_text(plain)})
    loaded = saved_and_loaded(codec, tmp_path)
    for again in (*(codec_class(SPECS, params) for params in given), loaded):
        assert again.params == codec.params
        assert type(again.params.value) is type(codec.params.value)
        assert again.fingerprint == codec.fingerprint


def test_results_hold_plain_data_and_give_it_back():
    for annotation, value, plain in WORKING.values():
        params = codec_class_of(params_of(annotation, field(default_factory=lambda: value)))(SPECS).params  # noqa: B023
        record = CodecRecord.model_construct(params=to_plain(params))
        assert json.loads(record.model_dump_json())["params"] == {"value": plain}


def test_derived_fields_and_factories_are_no_trouble(tmp_path):
    @dataclass(frozen=True)
    class Params:
        step: float = 1
        levels: tuple[int, ...] = field(default_factory=lambda: (1, 2))
        half: float = field(init=False, default=0.0)

        def __post_init__(self):
            object.__setattr__(self, "half", self.step / 2)

    codec = codec_class_of(Params)(SPECS, {"step": 3})
    assert codec.params.half == 1.5 and to_plain(codec.params) == {"step": 3.0, "levels": [1, 2]}
    assert saved_and_loaded(codec, tmp_path).params == codec.params


# ------------------------------------------------------------------------------------- what is refused at definition

REFUSED = {
    "list": (list[int], [], r"'value' is declared list\[int\]; declare it tuple"),
    "dict": (dict[str, int], {}, "'value' is declared .*; declare it a frozen dataclass"),
    "set": (set[int], set(), "'value' is declared .*; declare it frozenset"),
    "bytes": (bytes, b"", "'value' is declared bytes; declare it str"),
    "bare tuple": (tuple, (), r"'value' is declared tuple; say of what: tuple\[int, ...\]"),
    "anything": (Any, 1, "'value' is declared Any"),
    "numpy": (np.float32, np.float32(1), "'value' is declared float32; declare it float"),
    "array": (np.ndarray, None, "'value' is declared ndarray"),
    "dtype": (torch.dtype, torch.float32, "'value' is declared dtype"),
    "within a tuple": (tuple[list[int], ...], (), "'value' is declared .*; declare it tuple"),
    "within an optional": (bytes | None, None, "'value' is declared bytes"),
    "within a dataclass": (Changeable, None, "'value' is declared Changeable, and .*frozen=True"),
    "an enum of tuples": (Shape, Shape.WIDE, r"'value' is declared Shape, whose value \(1, 2\) has no plain form"),
    "an enum in a literal": (Literal[Mode.FAST], Mode.FAST, "has no plain form"),
    "a default that does not fit": (int, 2.5, "default 2.5 of parameter 'value' does not fit: .*integer"),
    "a default out of bounds": (Annotated[float, Field(gt=0)], -1.0, "default -1.0 of parameter 'value'.* greater"),
    "not a number": (float, float("nan"), "default nan of parameter 'value' does not fit: NaN"),
    "thousands of digits": (int, 10**5000, "parameter 'value' does not fit"),
    "no text": (str, "\ud800", "parameter 'value' does not fit"),
}


@pytest.mark.parametrize(("annotation", "default", "message"), REFUSED.values(), ids=REFUSED)
def test_a_field_that_could_not_be_saved_is_refused_at_definition(annotation, default, message):
    params_class = params_of(annotation, field(default_factory=lambda: default))
    with pytest.raises(PluginError, match=message) as caught:
        codec_class_of(params_class)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_params_must_be_a_frozen_dataclass():
    class Plain:
        step = 1.0

    class Undecorated(Inner):
        step: float = 1.0

    for params_class in (Plain, Undecorated, {"step": 1.0}, Inner()):
        with pytest.raises(PluginError, match=r"must be a dataclass: decorate it with @dataclass\(frozen=True\)"):
            codec_class_of(params_class)
    with pytest.raises(PluginError, match="can be changed after use"):
        codec_class_of(Changeable)


def test_what_no_field_would_hold_is_refused():
    @dataclass(frozen=True)
    class Params:
        seed: dataclasses.InitVar[int] = 0

    with pytest.raises(PluginError, match="'seed' is no field"):
        codec_class_of(Params)


def test_annotations_that_do_not_resolve_are_refused():
    @dataclass(frozen=True)
    class Params:
        value: "NoSuchType" = 0  # noqa: F821

    with pytest.raises(PluginError, match=r"does not resolve.*NoSuchType"):
        codec_class_of(Params)


# ---------------------------------------------------------------------------------------------- what is refused later


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gian": 1}, "did you mean 'gain'"),
        ({"gain": "much"}, "gain: .*number"),
        ({"gain": None}, "gain: .*number"),
        ({"gain": float("nan")}, "gain: NaN"),
        ({"mode": "slow"}, "mode: .*'fast' or 2"),
        ({1: 2}, "unknown parameter"),
        (Tree(), "takes its Inner or a mapping"),
        (3, "takes its Inner or a mapping"),
    ],
)
def test_values_that_do_not_fit_are_named(given, message):
    with pytest.raises(CodecError, match=message) as caught:
        codec_class_of(Inner)(SPECS, given)
    assert "\n" not in str(caught.value)


def test_unknown_fields_within_fields_are_refused_too():
    codec_class = codec_class_of(params_of(Inner, Inner()))
    with pytest.raises(CodecError, match="unknown field 'volume'"):
        codec_class(SPECS, {"value": {"gain": 2, "volume": 11}})


def test_a_value_that_changes_each_time_it_is_made_is_refused():
    @dataclass(frozen=True)
    class Params:
        step: float = 1.0

        def __post_init__(self):
            object.__setattr__(self, "step", self.step * 2)

    with pytest.raises(CodecError, match=r"step: saved as 2.0, it would come back as 4.0"):
        codec_class_of(Params)(SPECS)


def test_what_a_class_raises_itself_is_one_line():
    @dataclass(frozen=True)
    class Params:
        parts: int = 1

        def __post_init__(self):
            _ = 1 / self.parts

    with pytest.raises(CodecError, match="division by zero"):
        codec_class_of(Params)(SPECS, {"parts": "0"})


# ---------------------------------------------------------------------------------------------------------- as text


def test_the_list_of_codecs_shows_plain_data():
    class Listed(Codec):
        Params = Many
        rate_points = ({"level": Mode.LEVEL, "weights": Path("a")},)

    described = codecs_command._describe(Listed)
    assert json.loads(json.dumps(described)) == described
    assert described["params"]["inner"] == {"gain": 1.0, "mode": "fast"}
    assert described["rate_points"] == [{"level": 2, "weights": "a"}]


@dataclass(frozen=True)
class Many:
    widths: tuple[int, ...] = ()
    inner: Inner = Inner()
    limit: float | None = None
    dims: Literal[1, 2] = 1
    level: Mode = Mode.FAST
    exact: bool = False
    weights: Path = Path()


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("dims=2", {"dims": 2}),
        ("level=2,exact=true", {"level": Mode.LEVEL, "exact": True}),
        ("limit=3", {"limit": 3.0}),
        ("limit=null", {"limit": None}),
        ("widths=[64, 256],dims=2", {"widths": (64, 256), "dims": 2}),
        ('inner={"gain": 2, "mode": "fast"},exact=1', {"inner": Inner(2.0), "exact": True}),
        ("weights=[a,dims=2", {"weights": Path("[a"), "dims": 2}),
        ("weights=a:b/c=d", {"weights": Path("a:b/c=d")}),
    ],
)
def test_every_kind_of_value_is_settable_from_the_command_line(text, changed):
    spec = parse_codec_spec(f"some/file.py:Many:{text}")
    assert spec.id == "some/file.py:Many"
    assert codec_class_of(Many)(SPECS, spec.params).params == dataclasses.replace(Many(), **changed)


@pytest.mark.parametrize("text", ["dims=3", "widths=[1", "widths=1", "inner={}x", "limit=" + "[" * 100_000])
def test_text_that_does_not_fit_says_what_would(text):
    with pytest.raises(CodecError) as caught:
        codec_class_of(Many)(SPECS, parse_codec_spec(f"many:{text}").params)
    assert text.partition("=")[0] in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
