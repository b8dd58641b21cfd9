"""The card of a codec's repository on the Hub: what it is, how to use it, what it was fitted on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar, Protocol

import yaml

from lamofcbench.codecs import params as codec_params
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.codecs.saved_source import SOURCE_FOLDER
from lamofcbench.codecs.saving import POINTS_FOLDER, SavableCodec
from lamofcbench.errors import one_line
from lamofcbench.identity import identity_of
from lamofcbench.markdown import markdown_table
from lamofcbench.scenarios.base import Axis
from lamofcbench.user_files.modules import tree_of

LICENCE = "apache-2.0"
CURVES_FOLDER = "curves"
EVAL_RESULTS_FILE = ".eval_results/lamofcbench.yaml"
REPLACED_FILES = (f"{SOURCE_FOLDER}/*", f"{POINTS_FOLDER}/*", f"{CURVES_FOLDER}/*", EVAL_RESULTS_FILE)
"""What goes from a repository where a push does not bring it again: it belongs to a codec that is no longer there."""
MAX_PARAMETERS = 1000
"""Characters of parameters that a card shows."""
KNOWLEDGE = {
    "nothing": "nothing",
    "calibration": "features of a scenario's calibration split",
    "tail": "features of a scenario's calibration split, and how the model's tail responds to them",
    "other data": "other data than the benchmark's",
}
"""The classes of knowledge in words."""


class PresentableCodec(SavableCodec, Protocol):
    """What a card needs of a codec; `lamofcbench.codecs.base.Codec` has it."""

    lossless: ClassVar[bool]

    @property
    def state_bytes(self) -> int:
        """Size of what was learned."""

    @property
    def trained_on(self) -> Knowledge:
        """Its class of knowledge."""


def codec_card(codec: PresentableCodec, repo: str, *, licence: str = LICENCE, sections: Sequence[str] = ()) -> str:
    """The text of ``README.md``.

    Args:
        codec: as it is saved in the repository.
        repo: ``org/name``.
        licence: an identifier of the Hub's.
        sections: markdown to go between use and tensors, such as curves.
    """
    head = {
        "library_name": "lamofcbench",
        "license": licence,
        "tags": ["lamofcbench", "feature-coding", "codec"],
    }
    source = tree_of(type(codec))
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {codec.name}, a codec for features of large models",
        markdown_table(("", ""), _facts(codec)),
        "## Use",
        _use(repo, trusted=source is not None),
        *(["It comes with its own source, in `source/`; read it before you trust it."] if source is not None else []),
        *sections,
        "## Tensors that it codes",
        markdown_table(("tensor", "role", "shape", "dtype"), _tensors(codec)),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(codec: PresentableCodec) -> list[tuple[str, str]]:
    parameters = json.dumps(codec_params.to_plain(codec.params), ensure_ascii=False)
    return [
        ("code", f"`{identity_of(codec)}`"),
        ("parameters", "`" + one_line(parameters, MAX_PARAMETERS).replace("`", "'") + "`"),
        ("fitted on", KNOWLEDGE[codec.trained_on]),
        ("state", f"{codec.state_bytes:,} bytes, which no rate counts"),
        ("lossless", "yes" if codec.lossless else "no"),
        ("fingerprint", f"`{codec.fingerprint.hex()[:16]}`"),
    ]


def _use(repo: str, *, trusted: bool) -> str:
    trust = ", trust_code=True" if trusted else ""
    return f"""```python
from lamofcbench.codecs.base import Codec

codec = Codec.from_pretrained("{repo}", revision="COMMIT"{trust})
data = codec.encode(features)  # a FeatureSet of the tensors below, to bytes
features = codec.decode(data)  # and back, here or anywhere else
```"""


def _tensors(codec: PresentableCodec) -> list[tuple[str, ...]]:
    return [
        (f"`{spec.name}`", spec.role, " by ".join(map(_axis, spec.shape)) or "-", spec.dtype)
        for spec in codec.specs.tensors
    ]


def _axis(axis: int | Axis) -> str:
    return axis.name if isinstance(axis, Axis) else str(axis)
