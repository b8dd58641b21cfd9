"""Which raw samples a full scenario consists of: those of a list, or the first ones of an order that the task defines.

The published lists, ``text/qwen3.json`` and ``text/falconmamba.json`` of the raw data, are JSON objects of task names
and of places in the task's order. They differ between the two models; by which rule they were picked is
not known. Without a list the first samples of the order are taken, which is a rule of this project's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lamofcbench.errors import DataError, UnknownNameError, first_line, shown

MAX_BYTES = 2**22


def sample_places(task: str, available: int, count: int, file: Path | None = None) -> tuple[int, ...]:
    """The places of a scenario's samples in the order of its task.

    Args:
        task: its name in the list, such as ``fc_gsm8k``.
        available: how many samples the raw data hold.
        count: how many the scenario declares.
        file: the list; None for the first ``count`` places.

    Returns:
        ``count`` places, in the order of the list.

    Raises:
        DataError: if the list cannot be read, or does not name ``count`` different places that there are.
        UnknownNameError: if it has no such task.

    Example:
        >>> sample_places("fc_gsm8k", available=1319, count=3)
        (0, 1, 2)
    """
    if file is None:
        if available < count:
            raise DataError(f"{task} has {available} samples; {count} are needed")
        return tuple(range(count))
    places = _read(file, task)
    for place in places:
        if type(place) is not int or not 0 <= place < available:
            raise DataError(f"{file}: {task} names the sample {shown(place)}; there are 0 to {available - 1}")
    if len(set(places)) != len(places) or len(places) != count:
        raise DataError(
            f"{file}: {task} names {len(set(places))} different samples of {len(places)}; {count} are needed"
        )
    return tuple(places)


def sample_names(file: Path | None) -> list[str] | None:
    """The ids of a scenario's samples, where a list names them: a JSON list of texts.

    A text may be a file's name or path: its last folder and its stem make the id of a picture in a folder of its class
    (``n01440764/x.JPEG`` is ``n01440764-x``). An entry may also be an object whose ``image_name`` or ``name`` says it,
    as the published lists of generation have it.

    Args:
        file: the list; None for none.

    Returns:
        None where there is no list.

    Raises:
        DataError: if the list cannot be read.
    """
    if file is None:
        return None
    content = _json(file)
    entries = content if isinstance(content, list) else list(content) if isinstance(content, dict) else []
    names = [_name(entry) for entry in entries]
    known = [name for name in names if isinstance(name, str)]
    if not known or len(known) != len(names):
        raise DataError(f"{file} is no sample list: a JSON list of names")
    return known


def _name(entry: Any) -> Any:
    return entry.get("image_name", entry.get("name")) if isinstance(entry, dict) else entry


def _json(file: Path) -> Any:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read the sample list {file}: {first_line(error)}") from error


def _read(file: Path, task: str) -> list[Any]:
    content = _json(file)
    if not isinstance(content, dict) or not all(isinstance(places, list) for places in content.values()):
        raise DataError(f"{file} is no sample list: an object of task names and lists of places")
    if task not in content:
        raise UnknownNameError(f"task in {file}", task, content)
    places: list[Any] = content[task]
    return places
