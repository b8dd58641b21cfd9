"""Evaluation from Python: the curve of a codec, through the code that the command line runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.results.result import Result
from harness.running import launch
from harness.running.decoding_process import DecodingProcess
from harness.running.runner import ScenarioRunner
from harness.running.selection import CodecLike, select_codecs
from harness.running.settings import Overwrite, RunSettings
from harness.running.transfer import require_same_backbone
from lamofcbench.codecs.base import Codec
from lamofcbench.scenarios.base import SCENARIOS, Scenario


@dataclass(frozen=True)
class Curve(Sequence[Result]):
    """The rate points of a codec on a scenario, by rising rate; it is iterated and indexed like a list of them.

    Attributes:
        scenario: what they were measured on.
        points: the results; ``point.rate.ebpfp`` and ``point.score`` are the axes of the plot.
        anchor: the result of uncoded features.
        floor: the result of the calibration mean, which sends nothing but the container.
        folders: of the points, in their order; empty where results were not kept.
    """

    scenario: Scenario
    points: tuple[Result, ...]
    anchor: Result
    floor: Result
    folders: tuple[Path, ...]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Any) -> Any:
        return self.points[index]


def evaluate(
    codec: CodecLike | Iterable[CodecLike],
    scenario: str | Scenario,
    *,
    results: str | Path | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str | None = None,
    threads: int = 1,
    overwrite: Overwrite = "missing",
    bitstreams: bool | None = None,
    verify_samples: int = 3,
    trust_code: bool = False,
    progress: bool = True,
    fit_on: str | Scenario | Sequence[str | Scenario] | None = None,
    ladders: str | Path | None = None,
) -> Curve:
    """The curve of a codec on a scenario, with its anchor and floor.

    Under a launcher such as ``accelerate launch`` the processes share the work, and all of them get the curve.

    Args:
        codec: a SPEC such as ``uniform`` or ``uniform:step=0.5``, a codec class (its ladder of rate points runs), a
            codec object, or several of these. What is not fitted yet is fitted on the calibration split.
        scenario: a registered id, ``file.py:NAME`` or a scenario.
        results: where results are kept and found again; None for a temporary folder.
        data: a dataset folder; None for the Hub's or the cache's.
        limit: how many samples to report; None for all.
        seed: of every random generator.
        device: a torch device; None for CUDA where there is one, else the CPU.
        threads: of torch, while this runs.
        overwrite: ``missing``, ``never`` or ``always``; see `RunSettings`.
        bitstreams: keep the coded bytes.
        verify_samples: how many samples of each result another process decodes and compares; see `RunSettings`.
        trust_code: allow a saved codec to run the Python source that came with it.
        progress: show progress bars on stderr.
        fit_on: one or several scenarios of the same backbone, on whose calibration samples codecs are fitted; none for
            the one that they code.
        ladders: a folder of ``lamofcbench ladder``, whose rate points run in place of the codecs' own.

    Raises:
        LaMoFCBenchError: with one clear line about what is wrong.
    """
    if isinstance(scenario, str):
        scenario = SCENARIOS.get(scenario)
    likes: Iterable[CodecLike] = [codec] if isinstance(codec, (str, type, Codec)) else codec
    named = [fit_on] if isinstance(fit_on, (str, Scenario)) else fit_on or ()
    sources = tuple(SCENARIOS.get(source) if isinstance(source, str) else source for source in named)
    for source in sources:
        require_same_backbone(source, scenario)
    chosen = Path(ladders) if ladders is not None else None
    codecs = select_codecs(likes, scenario, trust_code=trust_code, ladders=chosen)
    team = launch.join()
    temporary: tempfile.TemporaryDirectory | None = None
    if results is None and team.leads:
        temporary = tempfile.TemporaryDirectory(prefix="lamofcbench-")
    try:
        folder = Path(results if results is not None else team.from_leader(lambda: temporary and temporary.name) or "")
        settings = RunSettings(
            results=folder,
            data=data,
            limit=limit,
            seed=seed,
            device=device,
            threads=threads,
            overwrite=overwrite,
            bitstreams=bitstreams,
            verify_samples=verify_samples,
            trust_code=trust_code,
            progress=progress,
            fit_on=sources,
            ladders=chosen,
        )
        with DecodingProcess() as decoder:
            if team.leads and verify_samples:
                decoder.start()
            done = ScenarioRunner(scenario, settings, team, decoder).run(codecs)
        points = sorted(done.points, key=lambda point: point.result.rate.ebpfp or point.result.rate.coded_bytes)
        kept = tuple(point.folder for point in points) if results is not None else ()
        return Curve(scenario, tuple(p.result for p in points), done.anchor.result, done.floor.result, kept)
    finally:
        team.together(lambda: None)  # nobody still reads the temporary folder
        if temporary is not None:
            temporary.cleanup()
