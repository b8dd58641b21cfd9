"""How to run: what a user chooses beside scenarios and codecs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.models.placement import TAIL, Placement
from lamofcbench.scenarios.base import Scenario

Overwrite = Literal["never", "missing", "always"]


@dataclass(frozen=True)
class RunSettings:
    """How to run.

    Attributes:
        results: the folder under which results are kept.
        data: a dataset folder; None for the Hub's or the cache's.
        limit: how many samples to report; None for all. Whole batches are computed.
        seed: of every random generator.
        device: a torch device; None for CUDA where there is one, else the CPU.
        threads: of torch, in each process.
        overwrite: ``missing`` computes what is not there yet; ``never`` also leaves shorter results as they are;
            ``always`` computes everything again.
        bitstreams: keep the coded bytes; None to keep them except in the full edition.
        verify_samples: how many samples of each result are decoded in another process and compared; 0 for none.
        trust_code: allow a saved codec to run the Python source that came with it.
        progress: show progress bars on stderr.
        argv: the command line, for ``run.json``.
        fit_on: scenarios of the same backbone, on whose calibration samples codecs are fitted; none for the one that
            they code.
        ladders: a folder of ``lamofcbench ladder`` from which rate points were chosen, which results record; None where
            none was used.
        placement: of the split model, of which a run needs the tail.
    """

    results: Path
    data: str | Path | None = None
    limit: int | None = None
    seed: int = 0
    device: str | None = None
    threads: int = 1
    overwrite: Overwrite = "missing"
    bitstreams: bool | None = None
    verify_samples: int = 3
    trust_code: bool = False
    progress: bool = True
    argv: tuple[str, ...] = ()
    fit_on: tuple[Scenario, ...] = ()
    ladders: Path | None = None
    placement: Placement = TAIL

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise LaMoFCBenchError(f"limit is {self.limit}; at least 1 sample is needed")
        if self.threads < 1:
            raise LaMoFCBenchError(f"threads is {self.threads}; at least 1 is needed")
        if self.verify_samples < 0:
            raise LaMoFCBenchError(f"verify_samples is {self.verify_samples}; it may be 0 or more")
        if not 0 <= self.seed < 2**63:
            raise LaMoFCBenchError(f"seed is {self.seed}; it may be 0 to 2**63 - 1")
        if self.overwrite not in get_args(Overwrite):
            raise LaMoFCBenchError(f"overwrite is {self.overwrite!r}; it may be {', '.join(get_args(Overwrite))}")

    def keeps_bitstreams(self, scenario: Scenario) -> bool:
        """Whether the coded bytes of a scenario are kept."""
        return scenario.edition != "full" if self.bitstreams is None else self.bitstreams
