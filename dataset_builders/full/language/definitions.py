"""Task definitions of lm-eval, read as data: nothing of the package or of a checkout runs.

A definition is a YAML file whose templates make the prompt and the reference of a document. The package ``lm-eval``
(extra ``lm-eval``) holds those of two tasks; those of the others stand in the published code alone, whose licence does
not allow to ship them here, so that users name a checkout. Both are asked for when features are built, never by a run
on features.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lamofcbench.errors import DataError, PluginError, ScenarioError, first_line, shown
from lamofcbench.models.language_model import DecoderOptions
from lamofcbench.models.loading import parse_options
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.cache import sources_folder

PACKAGE, EXTRA = "lm_eval", "lm-eval"
CHECKOUT = "custom_tasks"
"""The folder of definitions in the published code, ``machine/clu/custom_tasks``."""

DEFAULT_MAX_TOKENS = 256
"""lm-eval's limit of an answer where a definition names none."""

MAX_BYTES = 2**16


@dataclass(frozen=True)
class TaskDefinition:
    """How a task makes its prompts.

    Attributes:
        place: the file, for messages.
        prompt_template: of the prompt, or the name of the field that holds it.
        target_template: of the reference, likewise.
        answer_prefix: how the assistant's turn begins; empty where it does not.
        stop_strings: what ends an answer.
        max_new_tokens: the most that an answer may have.
    """

    place: str
    prompt_template: str
    target_template: str
    answer_prefix: str
    stop_strings: tuple[str, ...]
    max_new_tokens: int

    def prompt(self, document: Mapping[str, Any]) -> str:
        """The user's message for a document, exactly.

        Raises:
            DataError: if the template asks for what the document has not.
        """
        return self._rendered(self.prompt_template, document)

    def target(self, document: Mapping[str, Any]) -> str:
        """The reference of a document.

        Raises:
            DataError: if the template asks for what the document has not.
        """
        return self._rendered(self.target_template, document)

    def check_options(self, scenario: Scenario) -> None:
        """Refuses a scenario whose generation goes by other rules than the definition's.

        Raises:
            ScenarioError: naming the first option that differs.
        """
        options = parse_options(DecoderOptions, scenario)
        for name in ("answer_prefix", "stop_strings", "max_new_tokens"):
            declared, defined = getattr(options, name), getattr(self, name)
            if declared != defined:
                raise ScenarioError(f"{scenario.id} has {name} {declared!r}; {self.place} has {defined!r}")

    def _rendered(self, template: str, document: Mapping[str, Any]) -> str:
        if template in document:
            return str(document[template])
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        try:
            return environment.from_string(template).render(**document)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise DataError(f"{self.place}: a document does not fit the template: {first_line(error)}") from error


def packaged_definition(file: str) -> TaskDefinition:
    """A definition of the installed lm-eval.

    Args:
        file: within its folder ``tasks``.

    Raises:
        PluginError: if the package is not installed.
        DataError: if its file cannot be read.
    """
    found = importlib.util.find_spec(PACKAGE)  # found, not imported
    if found is None or not found.submodule_search_locations:
        raise PluginError(
            f"the prompts of this task are made by lm-eval's definition; pip install 'lamofcbench[{EXTRA}]'"
        )
    return read_definition(Path(next(iter(found.submodule_search_locations))) / "tasks" / file)


def definition_file(task: str, folder: Path) -> Path:
    """Where the published code has a task's definition."""
    return folder / task / f"{task}.yaml"


def checked_out_definition(task: str, folder: Path | None = None) -> TaskDefinition:
    """A definition of the published code.

    Args:
        task: its name there, such as ``fc_hellaswag``.
        folder: ``machine/clu/custom_tasks`` of the checkout; None for `CHECKOUT` in the sources folder.

    Raises:
        DataError: if it is not there, or cannot be read.
    """
    path = definition_file(task, folder if folder is not None else sources_folder() / CHECKOUT)
    if not path.is_file():
        raise DataError(
            f"no file {path}: the prompts of {task} are made by a definition of the published code, which is not "
            "shipped; name the folder machine/clu/custom_tasks of a checkout of github.com/lartpang/LaMoFCBench, or "
            f"put it there as {sources_folder() / CHECKOUT}"
        )
    return read_definition(path)


def read_definition(path: Path) -> TaskDefinition:
    """A definition from its file.

    Raises:
        DataError: if it cannot be read, or makes prompts by code.
    """
    fields = _fields(path)
    generation = fields.get("generation_kwargs") or {}
    if not isinstance(generation, dict):
        raise DataError(f"{path}: generation_kwargs is {shown(generation)}, and no mapping")
    until = generation.get("until") or []
    tokens = generation.get("max_gen_toks") or generation.get("max_new_tokens") or DEFAULT_MAX_TOKENS
    if not isinstance(tokens, int) or not isinstance(until, (str, list)):
        raise DataError(f"{path}: generation_kwargs tells no number of tokens, or no texts to stop at")
    templates = {name: fields.get(name) for name in ("doc_to_text", "doc_to_target")}
    for name, template in templates.items():
        if not isinstance(template, str) or isinstance(template, _Code):
            raise DataError(f"{path}: {name} is no template; what code makes is not run here")
    return TaskDefinition(
        place=str(path),
        prompt_template=str(templates["doc_to_text"]),
        target_template=str(templates["doc_to_target"]),
        answer_prefix=str(fields.get("gen_prefix") or ""),
        stop_strings=(until,) if isinstance(until, str) else tuple(map(str, until)),
        max_new_tokens=tokens,
    )


class _Code(str):
    """What a definition leaves to a function."""


class _Loader(yaml.SafeLoader):
    """Plain data; lm-eval's ``!function`` becomes a name that is never called."""


_Loader.add_constructor("!function", lambda loader, node: _Code(loader.construct_scalar(node)))


def _fields(path: Path, depth: int = 0) -> dict[str, Any]:
    """The fields of a file, over those of the file that it includes."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES} bytes, which is no task definition")
        fields = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"cannot read the task definition {path}: {first_line(error)}") from error
    if not isinstance(fields, dict) or depth > 4:
        raise DataError(f"{path} is no task definition")
    included = fields.pop("include", None)
    return {**_fields(path.parent / str(included), depth + 1), **fields} if included else fields
