"""Gradients of the selective scan, so that a Falcon-Mamba trains on a processor: a step in seconds, not minutes.

The forward pass is the adapter's own (`lamofcbench.models.selective_scan`). The backward pass walks through the states
once more instead of keeping those of all layers, then back through time, a few samples at a time, so that what a step
touches stays in the processor's cache.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lamofcbench.models.selective_scan import library_scan_replaced, recurrence, selective_scan

SAMPLES_AT_ONCE = 16


def trainable_scan() -> AbstractContextManager[None]:
    """Lets Falcon-Mamba models be trained with the scan of this module for a while."""
    return library_scan_replaced(partial(selective_scan, recur=ScanFunction.apply))


class ScanFunction(torch.autograd.Function):
    """`recurrence` with gradients for all of its arguments; the last state has none."""

    @staticmethod
    def forward(
        context: Any, inputs: Tensor, steps: Tensor, rates: Tensor, writes: Tensor, reads: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `recurrence`."""
        outputs, state = recurrence(inputs, steps, rates, writes, reads)
        context.save_for_backward(inputs, steps, rates, writes, reads)
        context.mark_non_differentiable(state)
        return outputs, state

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Gradients of inputs, steps, rates, writes and reads, of their shapes."""
        arguments = context.saved_tensors
        inputs, _, rates, _, _ = arguments
        results = tuple(torch.empty_like(tensor) for tensor in arguments)
        of_outputs = gradients[0].contiguous()
        times, samples, _ = inputs.shape
        results[2].zero_()
        states = inputs.new_empty(times + 1, min(samples, SAMPLES_AT_ONCE), *rates.shape)
        decays = torch.empty_like(states[1:])
        for start in range(0, samples, SAMPLES_AT_ONCE):
            part = slice(start, min(samples, start + SAMPLES_AT_ONCE))
            _backward(
                of_outputs[:, part],
                tuple(tensor if tensor is rates else tensor[:, part] for tensor in arguments),
                tuple(tensor if tensor is results[2] else tensor[:, part] for tensor in results),
                states[:, : part.stop - start],
                decays[:, : part.stop - start],
            )
        return results


def _backward(
    of_outputs: Tensor, arguments: tuple[Tensor, ...], results: tuple[Tensor, ...], states: Tensor, decays: Tensor
) -> None:
    """Writes the gradients of some samples; that of the rates is added to what stands there."""
    inputs, steps, rates, writes, reads = arguments
    of_inputs, of_steps, of_rates, of_writes, of_reads = results
    states[0].zero_()
    for time in range(len(inputs)):
        torch.mul(steps[time, :, None], rates, out=decays[time]).exp_()
        torch.mul(states[time], decays[time], out=states[time + 1])
        states[time + 1].addcmul_(writes[time, :, :, None], inputs[time, :, None])
    of_state, of_rates_here = torch.zeros_like(states[0]), torch.zeros_like(states[0])
    for time in reversed(range(len(inputs))):
        of_state.addcmul_(reads[time, :, :, None], of_outputs[time, :, None])
        torch.bmm(states[time + 1], of_outputs[time, :, :, None], out=of_reads[time, :, :, None])
        torch.bmm(writes[time, :, None], of_state, out=of_inputs[time, :, None])
        torch.bmm(of_state, inputs[time, :, :, None], out=of_writes[time, :, :, None])
        of_state.mul_(decays[time])  # now the gradient of the state before this step
        of_exponent = torch.mul(of_state, states[time], out=decays[time])
        of_rates_here.addcmul_(of_exponent, steps[time, :, None])
        torch.sum(of_exponent.mul_(rates), 1, out=of_steps[time])
    of_rates += of_rates_here.sum(0)
