"""Where a scenario's model comes from, and how its weights are read: safely, pinned, and completely."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from lamofcbench.builders import BUILDERS, ScenarioBuilder
from lamofcbench.errors import DataError, PluginError, ScenarioError, UnknownNameError, broken_field
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.models import placement as placing
from lamofcbench.models.base import MODELS, SplitModel
from lamofcbench.models.pinning import BUILDER_PREFIX, on_hub, pinned
from lamofcbench.models.placement import WHOLE, Placement
from lamofcbench.scenarios.base import DTypeName, Scenario

Options = TypeVar("Options", bound="AdapterOptions")


class AdapterOptions(BaseModel):
    """What every adapter of a pretrained model understands among a backbone's options.

    Attributes:
        compute_dtype: the dtype in which the model runs, whatever its weights and features are stored in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compute_dtype: DTypeName = "float32"

    @property
    def dtype(self) -> torch.dtype:
        """The compute dtype as torch knows it."""
        return TORCH_DTYPES[self.compute_dtype]


def load_model(
    scenario: Scenario,
    *,
    device: str = "cpu",
    builder: ScenarioBuilder | None = None,
    placement: Placement = WHOLE,
) -> SplitModel:
    """The split model of a scenario, in evaluation mode.

    Weights come from the scenario's builder (``builder:NAME``), from a folder (``./weights``, relative to the
    scenario's file; ``.`` is that file's own folder), or from the Hub at a commit that the declaration or the user's
    pins name. Code from the Hub never runs.

    Args:
        scenario: whose backbone to load.
        device: a torch device.
        builder: brings the weights of a ``builder:NAME`` source; None to find it by that name.
        placement: what of it is loaded, and where it lies.

    Raises:
        UnknownNameError: if the adapter or the builder does not exist.
        ScenarioError: if the Hub source is not pinned, or an option does not fit.
        DataError: if weights are missing, incomplete or unreadable.
    """
    sys.audit("lamofcbench.model", scenario.id)  # a process that decodes apart refuses it
    adapter = MODELS.get(scenario.backbone.adapter, relative_to=scenario.origin)
    scenario = pinned(scenario)
    with placing.placed(placement):
        return adapter.load(scenario, weights_directory(scenario, builder), device)


def weights_directory(scenario: Scenario, builder: ScenarioBuilder | None = None) -> Path | None:
    """The folder of a scenario's weights; None where they are on the Hub, at a pinned commit.

    Raises:
        ScenarioError: if the Hub source is not pinned.
        DataError: if the folder does not exist.
    """
    source = scenario.backbone.source
    if source.startswith(BUILDER_PREFIX):
        name = source.removeprefix(BUILDER_PREFIX)
        builder = builder or BUILDERS.get(name, relative_to=scenario.origin)()
        directory = builder.model_directory()
        if directory is None:
            raise PluginError(f"scenario {scenario.id!r} takes its weights from builder {name!r}, which brings none")
    elif not on_hub(source):
        directory = local_path(source, scenario)
    else:
        require_pinned(scenario, source, scenario.backbone.revision, "backbone.revision")
        return None
    if not directory.is_dir():
        raise DataError(f"scenario {scenario.id!r}: no folder {directory} with the weights of its model")
    return directory


def local_path(path: str, scenario: Scenario) -> Path:
    """A path as a scenario states it, relative to the file in which the scenario stands."""
    base = scenario.origin.parent if scenario.origin is not None else Path()
    return base / Path(path).expanduser()


def require_pinned(scenario: Scenario, repo: str, revision: str | None, field: str) -> None:
    """Refuses a Hub repository without a commit, because its weights could change under the same scenario.

    Raises:
        ScenarioError: saying how to pin it.
    """
    if revision is None:
        raise ScenarioError(
            f"scenario {scenario.id!r} does not pin {repo}; `lamofcbench pin {scenario.id}` pins it to the Hub's "
            f"current commit, or set {field} to a 40-digit commit of https://huggingface.co/{repo}/commits/main"
        )


def parse_options(schema: type[Options], scenario: Scenario) -> Options:
    """A backbone's options, checked.

    Raises:
        ScenarioError: for an unknown option, listing near matches, or a value that does not fit.
    """
    options = scenario.backbone.options
    for key in options:
        if key not in schema.model_fields:
            raise ScenarioError(f"scenario {scenario.id!r}: {UnknownNameError('option', key, schema.model_fields)}")
    try:
        return schema.model_validate(options)
    except ValidationError as error:
        raise ScenarioError(f"scenario {scenario.id!r}: option {broken_field(error)}") from error


def load_pretrained(
    model_class: Any,
    scenario: Scenario,
    directory: Path | None,
    dtype: torch.dtype,
    subfolder: str = "",
    unused: Sequence[str] = (),
) -> Any:
    """A transformers or diffusers model with all of its weights, from safetensors files, in evaluation mode.

    Args:
        model_class: a model or Auto class.
        scenario: whose backbone names the Hub repository and commit.
        directory: the folder to read instead; None for the Hub.
        dtype: what the weights are converted to.
        subfolder: where in that repository or folder the model stands, if not at its root.
        unused: paths of modules that the tail does not run, which is then loaded without them.

    Raises:
        DataError: if files are missing or unreadable, or do not hold every weight.
    """
    placement = placing.current()
    tail_alone = placement.part == "tail" and bool(unused)
    with without_remarks() if tail_alone else contextlib.nullcontext():
        model, info = _from_pretrained(
            placing.without(model_class, unused) if tail_alone else model_class,
            scenario,
            directory,
            subfolder,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **placement.arguments,
        )
    lacking = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lacking:  # transformers would go on with random weights
        raise DataError(
            f"{_place(scenario, directory, subfolder)} lacks {len(lacking)} weights, the first is {lacking[0]}"
        )
    return model.eval()


def load_tokenizer(scenario: Scenario, directory: Path | None, subfolder: str = "") -> Any:
    """The tokenizer that stands beside a model's weights, or in a folder of its own.

    Raises:
        DataError: if there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    return _from_pretrained(AutoTokenizer, scenario, directory, subfolder)


def load_settings(loader: Any, scenario: Scenario, directory: Path | None, subfolder: str) -> Any:
    """What is made from settings alone, such as a scheduler of diffusers.

    Raises:
        DataError: if there are none, or they cannot be read.
    """
    return _from_pretrained(loader, scenario, directory, subfolder)


def _from_pretrained(
    loader: Any, scenario: Scenario, directory: Path | None, subfolder: str = "", **arguments: Any
) -> Any:
    backbone = scenario.backbone
    arguments |= {"local_files_only": True} if directory is not None else {"revision": backbone.revision}
    if directory is not None:
        directory = directory / subfolder
    elif subfolder:
        arguments["subfolder"] = subfolder
    if "Auto" in loader.__name__:
        arguments["trust_remote_code"] = False  # said aloud, because the default asks at the terminal
    try:
        with _quiet() if directory is not None else contextlib.nullcontext():
            return loader.from_pretrained(directory if directory is not None else backbone.source, **arguments)
    except Exception as error:  # the library raises whatever the first thing that went wrong raised
        first_line = next(iter(str(error).splitlines()), "")
        raise DataError(f"cannot load {_place(scenario, directory)}: {type(error).__name__}: {first_line}") from error


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Errors alone are logged by transformers: no word on weights that are left out, or on packages that it lacks."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar, which would flash up and vanish for weights that need no download."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def _place(scenario: Scenario, directory: Path | None, subfolder: str = "") -> str:
    if directory is not None:
        return str(directory / subfolder)
    where = f" ({subfolder})" if subfolder else ""
    return f"{scenario.backbone.source}{where} at {scenario.backbone.revision} (from the Hub)"


def hub_file(repo: str, name: str, revision: str) -> Path:
    """A file of a Hub repository at a commit, downloaded once.

    Raises:
        DataError: if it cannot be had.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, name, revision=revision))
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise DataError(f"cannot fetch {name} of {repo} at {revision}: {type(error).__name__}: {first_line}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a ``.safetensors`` file, or of a torch file that is read without running its pickle's code.

    Raises:
        DataError: if the file is missing, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise DataError(f"cannot read {path}: {type(error).__name__}: {first_line}") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise DataError(f"{path} holds a {type(tensors).__name__}, not a dictionary of tensors")
    return tensors
