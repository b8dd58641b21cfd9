"""The parameters of a codec: from mappings and command-line text, and as plain data for configs and results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lamofcbench.errors import CodecError, UnknownNameError


@dataclasses.dataclass(frozen=True)
class NoParams:
    """The parameters of a codec that has none."""


def from_mapping(params_class: type, values: Mapping[str, Any], codec: str) -> Any:
    """An instance of a codec's ``Params`` from a mapping, strings as the command line gives them included.

    Args:
        params_class: the ``Params``.
        values: field name to value; fields that are absent keep their default.
        codec: its name, for messages.

    Raises:
        CodecError: for an unknown key or a value that does not fit.
    """
    known = [field.name for field in dataclasses.fields(params_class)]
    for key in values:
        if key not in known:
            raise CodecError(str(UnknownNameError(f"parameter of codec {codec!r}", key, known)))
    try:
        return TypeAdapter(params_class).validate_python(dict(values))
    except (ValidationError, ValueError, TypeError) as error:
        detail = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, detail["loc"]))
        raise CodecError(f"codec {codec!r}: {where}{': ' if where else ''}{detail['msg']}") from error


def as_mapping(params: Any) -> dict[str, Any]:
    """Parameters as plain data: field name to value."""
    return dataclasses.asdict(params)
