"""Our selective scan is the library's: same outputs, same last state, whatever is left out."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from lamofcbench.errors import PluginError
from lamofcbench.models import selective_scan as ours

LIBRARY: Any = importlib.import_module(ours.LIBRARY_MODULE)
SAMPLES, CHANNELS, STATES = 3, 5, 4


def arguments(length: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Random arguments of the scan, with steps and decays of the size that models have."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    return {
        "hidden_states": normal(SAMPLES, CHANNELS, length),
        "dt": normal(SAMPLES, CHANNELS, length),
        "A": -normal(CHANNELS, STATES).exp(),
        "B": normal(SAMPLES, STATES, length),
        "C": normal(SAMPLES, STATES, length),
        "D": normal(CHANNELS),
        "z": normal(SAMPLES, CHANNELS, length),
        "delta_bias": normal(CHANNELS),
        "delta_softplus": True,
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_outputs_and_last_state_are_the_librarys(length: int, dtype: torch.dtype) -> None:
    given = arguments(length, dtype)
    if dtype is torch.float64:  # the library computes one of its factors in fp32 otherwise
        given["B"] = given["B"].float().double()
    output, state = ours.selective_scan(**given, return_last_state=True)
    expected, expected_state = LIBRARY.mamba_selective_scan(**given, return_last_state=True)
    assert output.shape == expected.shape and state.shape == expected_state.shape
    torch.testing.assert_close(output.to(expected.dtype), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state.to(expected_state.dtype), expected_state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("absent", ["D", "z", "delta_bias", "delta_softplus"])
def test_what_may_be_left_out_may_be_left_out(absent: str) -> None:
    given = arguments(9)
    given["dt"] = given["dt"].abs()  # positive without the softplus, too
    given["delta_bias"] = given["delta_bias"].abs()
    del given[absent]
    torch.testing.assert_close(
        ours.selective_scan(**given), LIBRARY.mamba_selective_scan(**given), atol=1e-5, rtol=1e-5
    )


def test_states_are_kept_in_single_precision_where_the_model_computes_in_half() -> None:
    given = {name: value.bfloat16() if name in ("hidden_states", "dt", "B", "C", "z") else value
             for name, value in arguments(9).items()}  # fmt: skip
    output, state = ours.selective_scan(**given, return_last_state=True)
    assert state.dtype is torch.float32
    expected = LIBRARY.mamba_selective_scan(**given)
    torch.testing.assert_close(output.float(), expected.float(), atol=0.1, rtol=0.05)


def test_the_library_gets_its_own_scan_back() -> None:
    original = LIBRARY.mamba_selective_scan
    with ours.library_scan_replaced():
        assert LIBRARY.mamba_selective_scan is ours.selective_scan
    assert LIBRARY.mamba_selective_scan is original
    with pytest.raises(ZeroDivisionError), ours.library_scan_replaced():
        raise ZeroDivisionError
    assert LIBRARY.mamba_selective_scan is original


def test_cuda_kernels_are_left_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    original = LIBRARY.mamba_selective_scan
    monkeypatch.setattr(ours, "KERNELS", "torch")  # a package that is installed
    with ours.library_scan_replaced():
        assert LIBRARY.mamba_selective_scan is original


def test_a_library_without_the_function_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(LIBRARY, ours.LIBRARY_FUNCTION)
    with pytest.raises(PluginError, match="install the pinned version"), ours.library_scan_replaced():
        pass
