"""Helpers of the split model tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def randomised(model: nn.Module, seed: int = 0, spread: float = 0.15) -> Any:
    """The model with random weights everywhere: norms around 1, all else around 0, biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if ("norm" in name and name.endswith("weight")) or "lambda" in name else 0.0
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def fill_with_nan(modules: list[nn.Module]) -> None:
    """Makes every weight of some modules NaN; whatever they compute is NaN, too."""
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.fill_(torch.nan)
