"""Fitting again: whether a shipped codec's state is what its calibration split gives, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harness.results.result import FLOOR
from harness.running import environment, fitting
from harness.submission.at_hand import OwnScenario
from harness.submission.claims import Claim
from harness.submission.findings import Findings
from harness.submission.replay import is_elsewhere
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import CODECS
from lamofcbench.codecs.saving import STATE_FILE, read_config
from lamofcbench.errors import LaMoFCBenchError

WHAT = "learned states fitted anew"
OTHER_DATA = "what was learned from other data cannot be learned anew"
TOLERANCE = 1e-3
"""Relative to a tensor's largest value: sums are rounded otherwise elsewhere."""


def check_fit(claim: Claim, opened: OwnScenario, findings: Findings, *, every: bool) -> None:
    """Fits the codec of a result anew and compares the states; counts the states of which that was not done.

    Args:
        claim: the result, of a codec that loads.
        opened: of the scenario.
        findings: takes what is wrong.
        every: all shipped codecs that learn from this scenario's calibration samples; else the floor alone, on whose
            score the retention of all others rests.
    """
    name, folder = claim.result.codec.name, claim.folder.codec_path
    if name != FLOOR and not _has_learned(folder / STATE_FILE):
        return
    reason = _why_never(claim)
    if reason or not (every or name == FLOOR):
        findings.count(WHAT, 0, 1, reason)
        return
    path = folder / STATE_FILE
    try:
        fitted = _fitted(claim, opened)
    except LaMoFCBenchError as error:
        findings.count(WHAT, 0, 1, f"{name} cannot be fitted here: {error}")
        return
    same = _same_state(fitted.state, path)
    if not same and name != FLOOR and claim.result.codec.trained_on == "other data":
        findings.count(WHAT, 0, 1, OTHER_DATA)
        return
    rounding = "" if same or name == FLOOR or not is_elsewhere(claim, opened) else (
        "some states come out otherwise on another processor than the author's"
    )  # fmt: skip
    if not same and not rounding:
        findings.fault(path, f"is not what {name} learns from the calibration split of {claim.result.ref}")
    findings.count(WHAT, 1, 1, rounding)


def _has_learned(state: Path) -> bool:
    from safetensors import safe_open

    with safe_open(state, framework="pt") as content:
        return bool(content.keys())


def _why_never(claim: Claim) -> str:
    """Why a state cannot be fitted anew, however closely one looks; empty where it can."""
    name = claim.result.codec.name
    if read_config(claim.folder.codec_path)["codec_source"] is not None or name not in CODECS.names():
        return "what a codec's own source has learned is not learned anew"
    return OTHER_DATA if name != FLOOR and not CODECS.get(name).needs_calibration else ""


def _fitted(claim: Claim, opened: OwnScenario) -> Codec:
    """The codec as it comes from this machine's calibration samples, and the sensitivity of its own tail."""
    codec_class, seed = CODECS.get(claim.result.codec.name), claim.result.seed
    unfitted = codec_class(opened.scenario.specs, codec_class.make_params(claim.result.codec.params))
    with environment.pinned_threads(claim.threads):
        tail = opened.sensitivity(seed) if unfitted.needs_sensitivity else None
        return fitting.fit(unfitted, opened.calibration, seed, tail)


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
