"""What a submission says about itself: the content of ``submission.json``, and the digest over all of its files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.results.result import Parameters
from harness.submission.bounded_json import require_few_values
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.errors import LaMoFCBenchError, broken_field, first_line, one_line
from lamofcbench.pins import COMMIT
from lamofcbench.storage.integrity import file_sha256

FORMAT_VERSION: Literal[1] = 1
DATASET = "dataset"
"""The kind of repository that submissions are sent to."""
SUBMISSIONS, VERDICTS = "submissions", "verdicts"
"""Its folders."""
MANIFEST_FILE = "submission.json"
RESULTS_FOLDER = "results"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
LINK, MAX_LINK = re.compile(r"https://[\x21-\x7e]+"), 500
MAX_MANIFEST_BYTES = 2**22
MAX_POINTS = 100
"""Of a ladder."""


class SubmissionError(LaMoFCBenchError):
    """A submission that cannot be packed, sent or read."""


class Strict(BaseModel):
    """Frozen, and nothing but what it declares."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("it holds characters that are not printed, or white space at an end")
    return text


Line = Annotated[str, AfterValidator(_printable)]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CodecIdentity(Strict):
    """Which codec was submitted."""

    id: Line = Field(max_length=64, description="its name, the folder that its results lie in")
    identity: Line = Field(max_length=500, description="of its code, see lamofcbench.identity")
    fingerprints: dict[str, Hex64] = Field(
        description="of each rate point: sha256 of identity, params, specs, state and source, by the folder of the "
        "result, <scenario>@<version>/<codec>/<config hash>"
    )


class DeclaredLadder(Strict):
    """The rate points of the codec on a scenario; each has a result, and no other point has one."""

    scenario: Line = Field(max_length=120, description="<scenario>@<version>")
    chosen_by: Line = Field(max_length=200, description="`the codec's own`, `rule N, <digest>` of a ladder, or `named`")
    points: list[Parameters] = Field(min_length=1, max_length=MAX_POINTS, description="parameters of each rate point")


class Submission(Strict):
    """The content of ``submission.json``."""

    format_version: Literal[1] = FORMAT_VERSION
    name: str = Field(pattern=rf"^{NAME.pattern}$", description="the folder's name, unique in the repository")
    display_name: Line = Field(min_length=1, max_length=80)
    organisation: Line = Field(default="", max_length=80)
    link: str | None = Field(
        default=None, max_length=MAX_LINK, pattern=f"^{LINK.pattern}$", description="where the codec's code is"
    )
    commit: str | None = Field(default=None, pattern=f"^{COMMIT.pattern}$", description="of that code")
    licence: Line = Field(min_length=1, max_length=80, description="of the codec, such as an SPDX identifier")
    knowledge: Knowledge = Field(description="what the codec has learned from, see lamofcbench.codecs.knowledge")
    codec: CodecIdentity
    editions: list[Literal["mini", "small", "full"]] = Field(
        description="of each, all tracks were run; other scenarios may stand beside"
    )
    ladders: list[DeclaredLadder] = Field(min_length=1, max_length=1000)
    bitstreams: Literal["whole", "sampled"] = Field(
        description="whether all coded bytes are here, or their hashes and some that the hashes themselves draw"
    )
    versions: dict[Line, int | Line] = Field(description="of this package, of protocol and schema")
    environment: dict[Line, Line] = Field(description="Python, platform, processor, device and packages")


def check_name(name: str) -> str:
    """The name of a submission.

    Raises:
        SubmissionError: if it is none.

    Example:
        >>> check_name("my-codec.v2")
        'my-codec.v2'
    """
    if not NAME.fullmatch(name):
        raise SubmissionError(
            f"{one_line(name)!r} is no name of a submission: lower-case letters and digits, with any of . _ - behind "
            "the first, at most 96"
        )
    return name


def read_manifest(folder: Path) -> Submission:
    """What a submission's folder says about itself.

    Raises:
        SubmissionError: if it says nothing, or what it says breaks the schema.
    """
    path = folder / MANIFEST_FILE
    try:
        if not path.is_file() or path.is_symlink():
            raise SubmissionError(f"{folder} is no submission: it has no {MANIFEST_FILE}")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise SubmissionError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes")
        content = path.read_bytes()
        require_few_values(json.loads(content))
        found = Submission.model_validate_json(content)
    except ValidationError as error:
        raise SubmissionError(f"{path} breaks its schema: {broken_field(error)}") from error
    except OSError as error:
        raise SubmissionError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"{path} breaks its schema: {first_line(error)}") from error
    return found


def submission_digest(folder: Path) -> str:
    """Hex sha256 over the names and contents of all files of a submission, by which a verdict knows it again.

    It is the sha256 of a line for each file, sorted by path: hex sha256 of the content, two spaces, the path with ``/``
    relative to the folder, a newline.
    """
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    listing = "".join(f"{file_sha256(path)}  {name}\n" for name, path in files)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
