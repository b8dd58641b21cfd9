"""Steps of Falcon-Mamba that carry gradients to the states they start from, where those of generation write in place.

transformers updates a layer's states where they lie, so what autograd would need of them is gone before it asks, and
CUDA kernels for the scan and the steps give no gradient of states at all. For as long as gradients are on, the
library's functions are replaced by the same formulas without kernels: the values are those of generation to the last
bit where generation runs without kernels, too, and up to the order of sums where it does not.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lamofcbench.errors import PluginError
from lamofcbench.models.selective_scan import LIBRARY_FUNCTION, LIBRARY_MODULE, selective_scan

STATE_UPDATE = "mamba_selective_state_update"
CONVOLUTIONS = ("causal_conv1d_fn", "causal_conv1d_update")


def walk(inputs: Tensor, steps: Tensor, rates: Tensor, writes: Tensor, reads: Tensor) -> tuple[Tensor, Tensor]:
    """`lamofcbench.models.selective_scan.recurrence` with gradients of the outputs and of the last state."""
    outputs = []
    state = inputs.new_zeros(inputs.shape[1], *rates.shape)
    for time in range(len(inputs)):
        decay = (steps[time, :, None] * rates).exp()
        state = torch.addcmul(state * decay, writes[time, :, :, None], inputs[time, :, None])
        outputs.append(torch.bmm(reads[time, :, None], state))
    return torch.cat(outputs, dim=1).transpose(0, 1), state


def recomputed_walk(*arguments: Tensor) -> tuple[Tensor, Tensor]:
    """`walk`, whose states are made once more for the gradient: those of all steps and layers would not fit."""
    result: tuple[Tensor, Tensor] = checkpoint(walk, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result


@contextlib.contextmanager
def library_steps_differentiable() -> Iterator[None]:
    """Lets Falcon-Mamba models of transformers carry gradients through prefill and steps for a while.

    Raises:
        PluginError: if the installed transformers has no such functions.
    """
    library = importlib.import_module(LIBRARY_MODULE)
    originals = {name: _function(library, name) for name in (LIBRARY_FUNCTION, STATE_UPDATE, *CONVOLUTIONS)}
    without_kernels = {name: inspect.unwrap(function) for name, function in originals.items()}
    replacements: dict[str, Callable[..., Any]] = {
        **without_kernels,
        LIBRARY_FUNCTION: functools.partial(selective_scan, recur=recomputed_walk),
        STATE_UPDATE: functools.partial(_apart, without_kernels[STATE_UPDATE]),
    }
    try:
        for name, replacement in replacements.items():
            setattr(library, name, replacement)
        yield
    finally:
        for name, original in originals.items():
            setattr(library, name, original)


def _apart(update: Callable[..., Tensor], state: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
    """A step's output; the state changes as ``update`` would have it, and what autograd keeps of it does not."""
    # The library computes in fp32, for which it copies this and keeps the copy; there and back changes no bit.
    wide = state.double()
    output = update(wide, *arguments, **keywords)
    state.copy_(wide)
    return output


def _function(library: Any, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] | None = getattr(library, name, None)
    if found is None:
        raise PluginError(f"transformers has no {name} in {LIBRARY_MODULE}; install the pinned version")
    return found
