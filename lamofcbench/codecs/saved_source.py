"""The source that a saved codec carries: a user's file and its modules, in ``source/`` under their relative names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamofcbench.atomic import replacing
from lamofcbench.errors import CodecError, first_line, one_line
from lamofcbench.user_files.closure import MAX_BYTES, MAX_FILES, SourceTree

SOURCE_FOLDER = "source"
MAX_PLACE = 300
"""Characters of a folder's path that a message repeats."""
_MAIN_NAME = re.compile(r"[\w-][\w.-]{0,200}\.py")
_MODULE_NAME = re.compile(r"([^\W\d]\w{0,100}/){0,10}[^\W\d]\w{0,100}\.py")


def source_record(tree: SourceTree | None) -> dict[str, Any] | None:
    """What config.json says of the source: the main file, and each file's sha256; None for an installed codec."""
    if tree is None:
        return None
    return {"main": tree.main, "files": {name: hashlib.sha256(tree.files[name]).hexdigest() for name in tree.files}}


def write_source(tree: SourceTree | None, directory: Path, config_file: str) -> None:
    """Writes the source into an existing folder, in place of what an earlier saved codec left there.

    Raises:
        CodecError: if the folder holds a ``source`` that is no saved codec's.
        WriteError: if it cannot be written.
    """
    folder = directory / SOURCE_FOLDER
    was_saved = folder.exists() and _was_saved(directory / config_file)
    if tree is None:
        if was_saved:
            shutil.rmtree(folder)
        return
    if folder.exists() and not was_saved:
        raise CodecError(f"{folder} is there already and no saved codec's; save the codec into a folder of its own")
    with replacing(folder) as temporary:
        for name, content in tree.files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def read_source(directory: Path, record: Any) -> SourceTree:
    """The source of a saved folder, exactly as its config lists it.

    Args:
        directory: of the saved codec.
        record: what the config says, from whoever wrote it.

    Raises:
        CodecError: if a file is missing, changed or not listed, or the list is no list of such files.
    """
    place = one_line(str(directory), MAX_PLACE)
    hashes = _checked(place, record)
    folder = directory / SOURCE_FOLDER
    _refuse_unlisted(place, folder, hashes)
    files: dict[str, bytes] = {}
    left = MAX_BYTES
    for name, sha256 in hashes.items():
        path = folder / name
        try:
            if not path.is_file():
                raise CodecError(f"saved codec in {place} lacks {SOURCE_FOLDER}/{name}")
            with path.open("rb") as file:
                content = file.read(left + 1)
        except OSError as error:
            raise CodecError(f"saved codec in {place}: {SOURCE_FOLDER}/{name}: {first_line(error)}") from error
        left -= len(content)
        if left < 0:
            raise CodecError(f"the source of the saved codec in {place} is larger than {MAX_BYTES >> 20} MiB")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CodecError(f"{SOURCE_FOLDER}/{name} of the saved codec in {place} was changed")
        files[name] = content
    return SourceTree(str(record["main"]), files)


def _checked(place: str, record: Any) -> Mapping[str, str]:
    """The listed hashes by name, where no name leads anywhere but into the folder."""
    main, hashes = (record.get("main"), record.get("files")) if isinstance(record, dict) else (None, None)
    if not isinstance(main, str) or not isinstance(hashes, dict) or main not in hashes:
        raise CodecError(f"the config of the saved codec in {place} does not say which its source files are")
    if len(hashes) > MAX_FILES:
        raise CodecError(f"the config of the saved codec in {place} lists more than {MAX_FILES} source files")
    for name in hashes:
        if not (_MAIN_NAME if name == main else _MODULE_NAME).fullmatch(name):
            raise CodecError(
                f"the config of the saved codec in {place} lists the source file {name[:60]!r}, which is no "
                "relative name of a Python module"
            )
    return {str(name): str(sha256) for name, sha256 in hashes.items()}


def _refuse_unlisted(place: str, folder: Path, names: Mapping[str, str]) -> None:
    folders = {parent.as_posix() for name in names for parent in Path(name).parents}
    for at, subfolders, files in os.walk(folder):
        for entry in (*subfolders, *files):
            name = Path(at, entry).relative_to(folder).as_posix()
            is_link = entry in subfolders and Path(at, entry).is_symlink()
            if is_link or name not in (folders if entry in subfolders else names):
                raise CodecError(
                    f"saved codec in {place} holds {SOURCE_FOLDER}/{one_line(name)}, which its config does not list; "
                    "remove it"
                )


def _was_saved(config_path: Path) -> bool:
    """Whether a config says that the folder's source is a saved codec's."""
    try:
        config = json.loads(config_path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and isinstance(config.get("codec_source"), dict)
