"""The parameters of a codec: checked where they are defined, made from mappings and text, and as plain data.

A codec's ``Params`` is a frozen dataclass. Configs, fingerprints and results hold it as plain data, which JSON holds
and which gives it back. So a field is declared as one of

==========================================  =====================================================================
declared                                    plain data
==========================================  =====================================================================
``bool``, ``int``, ``str``, ``None``        the same
``float``                                   the same; infinities are ``"inf"`` and ``"-inf"``; NaN is no parameter
``pathlib.Path``                            text. It stands for the path alone: take what lies there into the state
``Enum`` of those, ``Literal`` of those     the value
``tuple[...]``                              a list
``frozenset[...]``                          a list, sorted
another frozen dataclass                    an object
``Optional`` and unions of these            as the value's own type
==========================================  =====================================================================

with pydantic's constraints in ``Annotated``. Anything else is refused when the codec's class is made: what can be
changed after the fingerprint was taken (``list``, ``dict``, ``set``), and what has no plain form (``bytes``, arrays).
As text, on the command line, a value is written as it is (``step=0.5``, ``mode=fast``) or as JSON (``widths=[64,256]``,
``limit=null``).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np
from pydantic import TypeAdapter, ValidationError

from lamofcbench.errors import CodecError, PluginError, UnknownNameError, first_line, one_line, shown

_SCALARS = (bool, int, float, str, types.NoneType)
_INSTEAD = {
    list: "tuple[...], which cannot be changed",
    dict: "a frozen dataclass or a tuple of pairs, which cannot be changed",
    set: "frozenset[...], which cannot be changed",
    bytes: "str, of hex digits say",
    bytearray: "str, of hex digits say",
    complex: "tuple[float, float]",
}


@dataclasses.dataclass(frozen=True)
class NoParams:
    """The parameters of a codec that has none."""


# --------------------------------------------------------------------------------------------------------- definition


def check_definition(params_class: Any, codec: str) -> None:
    """Holds a codec's ``Params`` to this module's table, defaults included.

    Args:
        params_class: the ``Params``.
        codec: the codec's name, for messages.

    Raises:
        PluginError: naming the field that breaks it, and what to declare instead.
    """
    _check_dataclass(params_class, f"Params of codec {codec!r}")
    for name, annotation in _annotations(params_class, codec).items():
        unfit = _unfit(annotation, (params_class,))
        if unfit is not None:
            raise PluginError(f"codec {codec!r}: parameter {name!r} is declared {unfit}")
    annotations = _annotations(params_class, codec)
    for field in dataclasses.fields(params_class):
        if field.init and _has_default(field):
            default = _default(field)
            try:
                _checked(TypeAdapter(annotations[field.name]), _native(default))
            except Exception as error:
                raise PluginError(
                    f"codec {codec!r}: the default {shown(default)} of parameter {field.name!r} does not fit: "
                    f"{reason(error)}"
                ) from error


def _check_dataclass(candidate: Any, what: str) -> None:
    """Frozen, and made from its fields alone."""
    decorated: Any = candidate if isinstance(candidate, type) and dataclasses.is_dataclass(candidate) else None
    bare = (
        decorated is not None and "__dataclass_fields__" not in vars(candidate) and inspect.get_annotations(candidate)
    )
    if decorated is None or bare:  # fields of a subclass that is not decorated itself would be none
        raise PluginError(f"{what} must be a dataclass: decorate it with @dataclass(frozen=True)")
    if not decorated.__dataclass_params__.frozen:
        raise PluginError(f"{what} can be changed after use: decorate it with @dataclass(frozen=True)")
    fields = {field.name for field in dataclasses.fields(decorated)}
    unsaved = [name for name in inspect.signature(decorated).parameters if name not in fields]
    if unsaved:
        raise PluginError(f"{what}: {unsaved[0]!r} is no field, so that no saved codec would hold it; make it one")


def _annotations(params_class: type, codec: str) -> dict[str, Any]:
    """The types of the fields that make an instance."""
    try:
        hints = typing.get_type_hints(params_class, include_extras=True)
    except Exception as error:  # whatever evaluating an annotation raises
        raise PluginError(
            f"codec {codec!r}: an annotation of {params_class.__name__} does not resolve at module level: "
            f"{first_line(error)}"
        ) from error
    return {field.name: hints[field.name] for field in dataclasses.fields(params_class) if field.init}


def _unfit(annotation: Any, within: tuple[type, ...]) -> str | None:
    """Why a type cannot be a parameter's, after "is declared"; None where it can."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _unfit(arguments[0], within)
    if annotation in _SCALARS or annotation is None or annotation is Path or annotation in within:
        return None
    if origin in (tuple, frozenset, Union, types.UnionType):
        return next(filter(None, (_unfit(a, within) for a in arguments if a not in (..., ()))), None)
    if origin is Literal:
        return _unfit_values(annotation, arguments)
    if hasattr(annotation, "__supertype__"):  # a NewType
        return _unfit(annotation.__supertype__, within)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _unfit_values(annotation, tuple(member.value for member in annotation))
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        try:
            _check_dataclass(annotation, annotation.__name__)
            inner = _annotations(annotation, annotation.__name__)
        except PluginError as error:
            return f"{_type_name(annotation)}, and {error}"
        return next(filter(None, (_unfit(a, (*within, annotation)) for a in inner.values())), None)
    if annotation in (tuple, frozenset):
        return f"{annotation.__name__}; say of what: {annotation.__name__}[int{', ...' if annotation is tuple else ''}]"
    return f"{_type_name(annotation)}; declare it {_instead(annotation, origin)}"


def _unfit_values(annotation: Any, values: tuple[Any, ...]) -> str | None:
    odd = [v for v in values if not isinstance(v, _SCALARS) or isinstance(v, enum.Enum)]
    return f"{_type_name(annotation)}, whose value {shown(odd[0])} has no plain form" if odd else None


def _instead(annotation: Any, origin: Any) -> str:
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, np.generic):
        scalars = {np.bool_: "bool", np.integer: "int", np.floating: "float"}
        return next((name for scalar, name in scalars.items() if issubclass(kind, scalar)), "float")
    for refused, instead in _INSTEAD.items():
        if kind is refused:
            return instead
    return "bool, int, float, str, Path, Enum, Literal, tuple[...], frozenset[...] or a frozen dataclass"


def _type_name(annotation: Any) -> str:
    named = isinstance(annotation, type) and not typing.get_args(annotation)
    return annotation.__name__ if named else shown(annotation)


# ------------------------------------------------------------------------------------------------------------- making


def make(params_class: type, given: Any, codec: str) -> Any:
    """The parameters as a saved codec would give them back.

    So ``1`` for a ``float`` is 1.0, and an object is the same as the mapping of its fields, defaults alike.

    Args:
        params_class: the codec's ``Params``.
        given: an instance of it, or a mapping of field names to values, where text is read as on the command line and
            fields that are absent keep their default; None for the defaults.
        codec: its name, for messages.

    Raises:
        CodecError: for an unknown key, or a value that does not fit or cannot be saved; the message names the field.
    """
    fields = [field for field in dataclasses.fields(params_class) if field.init]
    values: dict[str, Any] = {field.name: _default(field) for field in fields if _has_default(field)}
    if type(given) is params_class:
        values = {field.name: getattr(given, field.name) for field in fields}
    elif isinstance(given, Mapping):
        known = [field.name for field in fields]
        for key in given:
            if key not in known:
                raise CodecError(str(UnknownNameError(f"parameter of codec {codec!r}:", str(key), known)))
        values.update(given)
    elif given is not None:
        raise CodecError(
            f"codec {codec!r} takes its {params_class.__name__} or a mapping of its fields, not {shown(given)}"
        )
    try:
        return _checked(_adapter(params_class), {name: _native(value) for name, value in values.items()})
    except Exception as error:  # whatever a class's own __post_init__ raises
        raise CodecError(f"codec {codec!r}: {reason(error)}") from error


def to_plain(params: Any) -> dict[str, Any]:
    """Parameters as plain data that JSON holds, by field name.

    Raises:
        ValueError: naming a field whose value has no plain form; those of a codec, which `make` made, have one.
    """
    plain = {}
    for field in dataclasses.fields(params):
        if field.init:
            try:
                plain[field.name] = _plain(getattr(params, field.name))
            except ValueError as error:
                raise ValueError(f"{field.name}: {first_line(error)}") from error
    return plain


def plain_defaults(params_class: type) -> dict[str, Any]:
    """The defaults of the fields as plain data; fields without one are absent."""
    fields = [field for field in dataclasses.fields(params_class) if field.init and _has_default(field)]
    annotations = _annotations(params_class, params_class.__name__)
    return {f.name: _plain(_checked(TypeAdapter(annotations[f.name]), _native(_default(f)))) for f in fields}


def as_text(plain: Any) -> str:
    """A value's plain data as it is written on the command line: text as it stands, else JSON.

    Example:
        >>> as_text("fast"), as_text(0.5), as_text([64, 256]), as_text(None)
        ('fast', '0.5', '[64,256]', 'null')
    """
    return plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"))


@functools.lru_cache(maxsize=256)
def _adapter(params_class: type) -> TypeAdapter[Any]:
    return TypeAdapter(params_class)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _native(value: Any) -> Any:
    """Scalars and arrays of numpy as Python has them, and objects as the mappings of their fields."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, enum.Enum)):
        return {f.name: _native(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    return tuple(map(_native, value)) if isinstance(value, tuple) else value


def _checked(adapter: TypeAdapter[Any], values: Any) -> Any:
    """What comes back from the plain form of the validated values.

    Raises:
        ValidationError: if they do not fit.
        ValueError: if they have no plain form, or it does not give them back.
    """
    plain = _plain(_validated(adapter, values))
    dropped = _dropped(values, plain)
    if dropped is not None:
        raise ValueError(f"unknown field {shown(dropped)}")
    back = adapter.validate_python(plain)
    again = _plain(back)
    if json.dumps(again) != json.dumps(plain):
        where = [name for name in plain if plain[name] != again[name]] if isinstance(plain, dict) else []
        prefix = f"{where[0]}: " if where else ""
        changed = (plain[where[0]], again[where[0]]) if where else (plain, again)
        raise ValueError(f"{prefix}saved as {shown(changed[0])}, it would come back as {shown(changed[1])}")
    return back


def _validated(adapter: TypeAdapter[Any], values: Any) -> Any:
    """The values by their types; text that does not fit as it stands is read as JSON."""
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        if not isinstance(values, dict):
            raise
        named = {detail["loc"][0] for detail in error.errors(include_url=False) if detail["loc"]}
        texts = {name: _from_json(values[name]) for name in named if isinstance(values.get(str(name)), str)}
        if not texts:
            raise
        try:
            return adapter.validate_python({**values, **texts})
        except ValidationError:
            raise error from None  # which says what was expected of the text that the user wrote


def _dropped(values: Any, plain: Any) -> Any:
    """A key of the values that their plain form lacks: pydantic passes over those of dataclasses within dataclasses."""
    if isinstance(values, dict) and isinstance(plain, dict):
        unknown = [key for key in values if key not in plain]
        found = unknown or [_dropped(values[key], plain[key]) for key in values]
    elif isinstance(values, (list, tuple)) and isinstance(plain, list):
        found = list(map(_dropped, values, plain))
    else:
        found = []
    return next(filter(None, found), None)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, float):
        if value != value:
            raise ValueError("NaN is no parameter, since it does not equal itself")
        return float(value) if abs(value) != float("inf") else str(float(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        json.dumps(int(value))  # refuses thousands of digits, which no reader would take
        return int(value)
    if isinstance(value, (str, Path)):
        str(value).encode()  # refuses lone surrogates, which stand for no text
        return str(value)
    if isinstance(value, frozenset):
        return sorted(map(_plain, value), key=json.dumps)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    raise ValueError(f"{shown(value)} has no plain form")


def reason(error: Exception) -> str:
    """What an error says, on one line; of pydantic's the first failure alone, after the names that lead to it."""
    if not isinstance(error, ValidationError):
        return first_line(error)
    detail = error.errors(include_url=False, include_input=False)[0]
    message = first_line(ValueError(detail["msg"].removeprefix("Value error, ")))
    where = one_line(".".join(str(part) for part in detail["loc"]))
    return f"{where}: {message}" if where else message
