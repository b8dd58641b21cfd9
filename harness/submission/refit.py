"""Fitting again: whether a codec's state is what its calibration split gives, and no other.

Every codec learns in the process that decodes, from copies of the calibration samples: what a shipped one reads, and
how long and how much memory it takes, follows from parameters that a stranger wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from harness.results.result import FLOOR
from harness.running import environment
from harness.running.decoding_process import FailedThereError
from harness.submission.at_hand import OwnScenario
from harness.submission.claims import Claim
from harness.submission.findings import Findings
from harness.submission.replay import Share, is_elsewhere, load_into
from lamofcbench.codecs.returned import STATE_DTYPES
from lamofcbench.codecs.saving import STATE_FILE, read_config
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.features import equal_bits

if TYPE_CHECKING:
    from harness.running.decoding_process import DecodingProcess

WHAT = "learned states fitted anew"
NOT_THE_SAME_TWICE = "what a codec learns is not the same twice, from the same samples, seed and threads"
OTHER_DATA = "what was learned from other data cannot be learned anew"
MORE_BYTES = 2**26
"""That a state which is learned apart may take beyond the saved one, so that another one is seen to be one."""
ROUNDED = "some states are the same up to rounding alone"
TOLERANCE = 1e-3
"""Relative to each value, and to the median of those that are not zero: sums are rounded otherwise elsewhere. To the
largest it would let the others be anything, where one is a thousand times as large."""
PIECE = 2**20
"""Values that are compared at a time: as float64 a large state would not fit into memory."""


def check_fit(
    claim: Claim, opened: OwnScenario, findings: Findings, decoder: DecodingProcess, share: Share, *, every: bool
) -> None:
    """Fits the codec of a result anew and compares the states; counts the states of which that was not done.

    Args:
        claim: the result, of a codec that `decoder` has loaded.
        opened: of the scenario.
        findings: takes what is wrong.
        decoder: where codecs learn; it has the saved one loaded afterwards too.
        share: says whether to run that, and for how long any may learn.
        every: all codecs that learn from this scenario's calibration samples; else the floor alone, on whose score the
            retention of all others rests.
    """
    name, folder = claim.result.codec.name, claim.folder.codec_path
    if name != FLOOR and not _has_learned(folder / STATE_FILE):
        return
    from_elsewhere = name != FLOOR and decoder.facts.get("needs_calibration") is not True
    if from_elsewhere or not (every or name == FLOOR):
        findings.count(WHAT, 0, 1, OTHER_DATA if from_elsewhere else "")
        return
    path = folder / STATE_FILE
    own_source = read_config(folder)["codec_source"] is not None

    def fitted() -> Mapping[str, Tensor]:
        return _fitted(claim, opened, decoder, share, afresh=own_source)

    try:
        learned, saved = fitted(), load_file(path)
        same = _same_state(learned, saved)
        of_other_data = not same and name != FLOOR and claim.result.codec.trained_on == "other data"
        steady = same or of_other_data or not own_source or _same_state(learned, fitted())
    except FailedThereError as error:  # whatever state it has, it has not learned it
        findings.fault(path, f"is of a codec that learns nothing from these samples: {error}")
        return
    except LaMoFCBenchError as error:
        findings.count(WHAT, 0, 1, f"{name} cannot be fitted here: {error}")
        return
    finally:
        load_into(decoder, claim, share)
    if of_other_data:
        findings.count(WHAT, 0, 1, OTHER_DATA)
        return
    if not steady:
        findings.count(WHAT, 0, 1, NOT_THE_SAME_TWICE)
        return
    reason = "" if not same or _equal_bits(learned, saved) else ROUNDED
    if not same and name != FLOOR and is_elsewhere(claim, opened):
        reason = "some states come out otherwise on another processor than the author's, or with other packages"
    if not same and not reason:
        findings.fault(path, f"is not what {name} learns from the calibration split of {claim.result.ref}")
    findings.count(WHAT, 1, 1, reason)


def _has_learned(state: Path) -> bool:
    with safe_open(state, framework="pt") as content:
        return bool(content.keys())


def _fitted(
    claim: Claim, opened: OwnScenario, decoder: DecodingProcess, share: Share, *, afresh: bool
) -> Mapping[str, Tensor]:
    """What a codec learns from this machine's calibration samples, and the sensitivity of its own tail."""
    folder, seed, sensitivity = claim.folder.codec_path, claim.result.seed, None
    if decoder.facts.get("needs_sensitivity") is True:
        tail = opened.sensitivity(seed)
        with environment.pinned_threads(claim.threads):
            tail.computed()
        sensitivity = tail.file
    return decoder.fit(
        folder, opened.calibration, sensitivity, trust_code=share.trust_code, threads=claim.threads, seed=seed,
        seconds=share.fit_seconds, most_bytes=(folder / STATE_FILE).stat().st_size + MORE_BYTES, afresh=afresh,
    )  # fmt: skip


def _same_state(learned: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> bool:
    """Whether two states are the same up to rounding; what no state may hold is the same in its bits alone."""
    if saved.keys() != learned.keys():
        return False
    return all(equal_bits(tensor, saved[name]) or _is_close(tensor, saved[name]) for name, tensor in learned.items())


def _equal_bits(learned: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> bool:
    return all(equal_bits(tensor, saved[name]) for name, tensor in learned.items())


def _is_close(learned: Tensor, saved: Tensor) -> bool:
    if learned.shape != saved.shape or learned.dtype != saved.dtype or learned.dtype not in STATE_DTYPES:
        return False
    first, second = learned.flatten(), saved.flatten()
    some = first[:: max(1, first.numel() // PIECE)].double().abs()
    some = some[(some > 0) & some.isfinite()]
    usual = float(some.median()) if some.numel() else 0.0
    return all(
        torch.allclose(other.double(), one.double(), rtol=TOLERANCE, atol=TOLERANCE * usual)
        for one, other in zip(first.split(PIECE), second.split(PIECE), strict=True)
    )
