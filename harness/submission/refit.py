"""Fitting again: whether a shipped codec's state is what its calibration split gives, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harness.results.result import FLOOR
from harness.running import fitting
from harness.running.opened import OpenScenario
from harness.submission.claims import Claim
from harness.submission.findings import Findings
from harness.submission.replay import is_elsewhere
from lamofcbench.codecs.registry import CODECS
from lamofcbench.codecs.saving import STATE_FILE, read_config
from lamofcbench.errors import LaMoFCBenchError

TOLERANCE = 1e-3
"""Relative to a tensor's largest value: sums are rounded otherwise elsewhere."""


def check_fit(claim: Claim, opened: OpenScenario, findings: Findings, *, every: bool) -> None:
    """Fits the codec of a result anew and compares the states.

    Args:
        claim: the result, of a codec that loads.
        opened: of the scenario.
        findings: takes what is wrong.
        every: all shipped codecs that learn from calibration samples; else the floor alone, on whose score the
            retention of all others rests.
    """
    name = claim.result.codec.name
    if read_config(claim.folder.codec_path)["codec_source"] is not None or name not in CODECS.names():
        return
    codec_class = CODECS.get(name)
    learns = codec_class.needs_calibration and not codec_class.needs_sensitivity
    # What a result states of itself frees it from nothing but where it states the most that there is.
    if name != FLOOR and not (every and learns and claim.result.codec.trained_on != "other data"):
        return
    path = claim.folder.codec_path / STATE_FILE
    try:
        unfitted = codec_class(opened.scenario.specs, codec_class.make_params(claim.result.codec.params))
        fitted = fitting.fit(unfitted, opened.calibration, claim.result.seed)
    except LaMoFCBenchError as error:
        findings.count("codecs fitted anew", 0, 1, f"{name} cannot be fitted here: {error}")
        return
    same = _same_state(fitted.state, path)
    rounding = "" if same or name == FLOOR or not is_elsewhere(claim, opened) else (
        "some states come out otherwise on another processor than the author's"
    )  # fmt: skip
    if not same and not rounding:
        findings.fault(path, f"is not what {name} learns from the calibration split of {claim.result.ref}")
    findings.count("codecs fitted anew", 1, 1, rounding)


def _same_state(learned: Mapping[str, Tensor], path: Path) -> bool:
    from safetensors.torch import load_file

    saved: dict[str, Tensor] = load_file(path)
    if saved.keys() != learned.keys():
        return False
    for name, tensor in learned.items():
        other = saved[name]
        if other.shape != tensor.shape or other.dtype != tensor.dtype:
            return False
        largest = float(tensor.double().abs().max()) if tensor.numel() else 0.0
        if not torch.allclose(other.double(), tensor.double(), rtol=0, atol=TOLERANCE * largest, equal_nan=True):
            return False
    return True
