"""The selective scan of Mamba layers on machines without its CUDA kernels: the library's formulas, computed in cache.

transformers computes the scan without kernels by writing the decays and inputs of all T steps to memory, each
``[B, D, T, N]``, before it walks through time. Here a step makes what it needs in place, so that the state
``[B, N, D]`` and its decay stay in the processor's cache. Channels come last, where a vector unit wants them. Samples,
channels and states are done in parallel, time is walked. Cutting time as well, into pieces whose own scans are joined
by their decays, doubles the arithmetic: on one core it took 2 to 3 times as long for 32 samples of 64 tokens.

The results are equal up to the order of sums. Where kernels are installed, they are used and this is not.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lamofcbench.errors import PluginError

LIBRARY_MODULE = "transformers.models.falcon_mamba.modeling_falcon_mamba"
LIBRARY_FUNCTION = "mamba_selective_scan"
KERNELS = "mamba_ssm"

Recurrence = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@torch.no_grad()
def recurrence(inputs: Tensor, steps: Tensor, rates: Tensor, writes: Tensor, reads: Tensor) -> tuple[Tensor, Tensor]:
    """Walks ``state = exp(steps * rates) * state + writes * inputs; output = sum(reads * state)`` through time.

    Args:
        inputs: ``[T, B, D]``, multiplied by their steps.
        steps: step sizes, ``[T, B, D]``.
        rates: decay rates, negative, ``[N, D]``.
        writes: how inputs enter the N states, ``[T, B, N]``.
        reads: how states leave, ``[T, B, N]``.

    Returns:
        Outputs ``[T, B, D]`` and the last state ``[B, N, D]``.
    """
    outputs = torch.empty_like(inputs)
    state = inputs.new_zeros(inputs.shape[1], *rates.shape)
    decay = torch.empty_like(state)
    for time in range(len(inputs)):
        advance(state, decay, inputs[time], steps[time], rates, writes[time])
        torch.bmm(reads[time, :, None], state, out=outputs[time, :, None])
    return outputs, state


def advance(state: Tensor, decay: Tensor, inputs: Tensor, steps: Tensor, rates: Tensor, writes: Tensor) -> None:
    """One step of `recurrence` in place; ``decay`` ``[B, N, D]`` is left with the step's decay factors."""
    torch.mul(steps[:, None], rates, out=decay).exp_()
    state.mul_(decay).addcmul_(writes[:, :, None], inputs[:, None])


def selective_scan(
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    recur: Recurrence = recurrence,
    **ignored: Any,
) -> Any:
    """What ``mamba_selective_scan`` of transformers computes, under its names.

    Args:
        hidden_states: ``[B, D, T]``.
        dt: step sizes before bias and softplus, ``[B, D, T]``.
        A: decay rates, ``[D, N]``.
        B: ``[B, N, T]``.
        C: ``[B, N, T]``.
        D: skip weights, ``[D]``.
        z: gate, ``[B, D, T]``.
        delta_bias: ``[D]``.
        delta_softplus: True to take the softplus of the step sizes.
        return_last_state: True to return the last state ``[B, D, N]`` as well.
        recur: the recurrence; another one may bring gradients.
        **ignored: settings of the library's other paths.

    Returns:
        Output ``[B, D, T]``, or output and last state.
    """
    dtype = torch.promote_types(hidden_states.dtype, A.dtype)
    inputs, steps, writes, reads = (tensor.permute(2, 0, 1).to(dtype) for tensor in (hidden_states, dt, B, C))
    if delta_bias is not None:
        steps = steps + delta_bias.to(steps.dtype)
    if delta_softplus:
        steps = functional.softplus(steps)
    rates = A.to(dtype).transpose(0, 1)
    outputs, state = recur(*(t.contiguous() for t in (steps * inputs, steps, rates, writes, reads)))
    if D is not None:
        outputs = outputs + inputs * D
    if z is not None:
        outputs = outputs * functional.silu(z.permute(2, 0, 1))
    outputs = outputs.permute(1, 2, 0)
    # In the order of memory that a restored state has: another one would change the order of sums in later steps.
    return (outputs, state.transpose(1, 2).contiguous()) if return_last_state else outputs


@contextlib.contextmanager
def library_scan_replaced(scan: Callable[..., Any] = selective_scan) -> Iterator[None]:
    """Lets Falcon-Mamba models use another scan for a while, unless CUDA kernels are installed.

    Args:
        scan: called as the library's ``mamba_selective_scan`` is.

    Raises:
        PluginError: if the installed transformers has no such function.
    """
    if importlib.util.find_spec(KERNELS) is not None:
        yield
        return
    library = importlib.import_module(LIBRARY_MODULE)
    original = getattr(library, LIBRARY_FUNCTION, None)
    if original is None:
        raise PluginError(f"transformers has no {LIBRARY_FUNCTION} in {LIBRARY_MODULE}; install the pinned version")
    setattr(library, LIBRARY_FUNCTION, scan)
    try:
        with _no_advice_on_kernels():
            yield
    finally:
        setattr(library, LIBRARY_FUNCTION, original)


@contextlib.contextmanager
def _no_advice_on_kernels() -> Iterator[None]:
    """Silences the advice to install kernels, which a machine without a GPU cannot follow."""
    logger = logging.getLogger("transformers.integrations.hub_kernels")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
