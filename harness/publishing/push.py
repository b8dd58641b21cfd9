"""Pushes a saved codec to a model repository, with a card that shows what it reached, in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.publishing.eval_results import DatasetCommit, eval_results
from harness.report import text
from harness.report.compile import compile_summary
from harness.report.render import plots
from harness.report.render.styles import styles_of
from harness.report.summary import CodecSummary, OverallRow, ScenarioSummary, Summary
from harness.results.store import CODEC_DIRECTORY
from lamofcbench.atomic import write_text
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.card import CURVES_FOLDER, EVAL_RESULTS_FILE, LICENCE, REPLACED_FILES, codec_card
from lamofcbench.codecs.saving import POINTS_FOLDER, copy_folder
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.hub import check_repository, hub_errors, signed_in
from lamofcbench.identity import identity_of
from lamofcbench.markdown import markdown_table
from lamofcbench.storage.layout import CARD_FILE
from lamofcbench.user_files.modules import tree_of


@dataclass(frozen=True)
class Reached:
    """What a codec reached, as far as it may be published: on whole test splits.

    Attributes:
        folder: of the results.
        summary: of the results folder.
        name: what the report calls the codec.
        scenarios: with the codec, anchor and floor alone.
        left_out: scenarios on a part of whose test split it ran.
    """

    folder: Path
    summary: Summary
    name: str
    scenarios: Sequence[ScenarioSummary]
    left_out: Sequence[str]

    @property
    def overall(self) -> OverallRow | None:
        """Its row over all scenarios of an edition; None where results of a part of them, or of several editions."""
        rows = [row for row in self.summary.overall if row.codec == self.name]
        return rows[0] if len(rows) == 1 and not rows[0].missing and not self.left_out else None


def push(
    codec: Codec,
    repo: str,
    *,
    results: Path | None = None,
    dataset: DatasetCommit | None = None,
    licence: str = LICENCE,
    private: bool = False,
) -> str:
    """Pushes a codec; returns the address of the commit.

    Args:
        codec: fitted.
        repo: ``org/name``; made where it is not there.
        results: a folder with results of the codec on whole test splits, all of whose rate points are pushed too;
            None for the codec and a card without curves.
        dataset: whose features these were, for the file that benchmarks read; None leaves it out.
        licence: of the codec, an identifier of the Hub's.
        private: whether a repository that is made is private.

    Raises:
        LaMoFCBenchError: if the folder has no results of this codec, or they are of other data than the dataset's.
        HubError: if the repository's name is none, or the Hub refuses or cannot be reached.
    """
    check_repository(repo)
    reached = reached_by(codec, results) if results is not None else None
    api = signed_in()
    with tempfile.TemporaryDirectory(prefix="lamofcbench-push-") as place:
        write_repository(codec, repo, Path(place), reached, dataset, licence)
        with hub_errors(f"cannot push to the model repository {repo}"):
            api.create_repo(repo, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo,
                folder_path=place,
                commit_message=f"Push {codec.name}",
                delete_patterns=list(REPLACED_FILES),
            )
    return done.commit_url


def write_repository(
    codec: Codec, repo: str, folder: Path, reached: Reached | None, dataset: DatasetCommit | None, licence: str
) -> None:
    """Everything that the repository is to hold, into an empty folder."""
    codec.save(folder)
    if reached is not None:
        _save_points(reached, folder)
    sections = [] if reached is None else _sections(codec, reached, folder)
    write_text(folder / CARD_FILE, codec_card(codec, repo, licence=licence, sections=sections))
    if reached is not None and dataset is not None:
        percent = reached.summary.ranking_percent
        content = eval_results(reached.scenarios, reached.overall, reached.name, percent, dataset)
        write_text(folder / EVAL_RESULTS_FILE, content)


def reached_by(codec: Codec, results: Path) -> Reached:
    """What a results folder says of a codec.

    Raises:
        LaMoFCBenchError: if it says nothing on a whole test split.
    """
    summary = compile_summary(results, bound=False)
    identity, name = identity_of(codec), None
    kept, left_out = [], []
    for scenario in summary.scenarios:
        own = [found for found in scenario.codecs if found.role == "codec" and found.identity == identity]
        if not own:
            continue
        name = own[0].codec
        if scenario.samples != scenario.test_samples:
            left_out.append(scenario.scenario)
            continue
        ends = [found for found in scenario.codecs if found.role != "codec"]
        kept.append(scenario.model_copy(update={"codecs": [*own, *ends]}))
    if name is None or not kept:
        why = f"only on parts of test splits ({', '.join(left_out)})" if left_out else "none of them"
        raise LaMoFCBenchError(
            f"{results} has results of {identity} {why}; run it without --limit, or leave --results out"
        )
    return Reached(results, summary, name, kept, left_out)


def _save_points(reached: Reached, folder: Path) -> None:
    """The saved codec of every rate point, so that whoever names the repository runs the same curves."""
    for scenario in reached.scenarios:
        curve = scenario.codecs[0].points
        digits = len(str(len(curve)))
        for number, point in enumerate(curve, start=1):
            place = folder / POINTS_FOLDER / f"{scenario.scenario}@{scenario.version}"
            copy_folder(reached.folder / point.folder / CODEC_DIRECTORY, place / f"{number:0{digits}}")


def _sections(codec: Codec, reached: Reached, folder: Path) -> list[str]:
    """Curves as pictures beside the card, a table, and which points there are."""
    styles = styles_of(reached.summary)
    pictures = []
    for scenario in reached.scenarios:
        path = folder / CURVES_FOLDER / f"{scenario.scenario}.png"
        plots.save_png(plots.scenario_figure(scenario, styles), path)
        pictures.append(f"![{scenario.scenario}]({CURVES_FOLDER}/{path.name})")
    return ["## What it reached", _table(reached), _points(codec, reached), *pictures]


def _points(codec: Codec, reached: Reached) -> str:
    count = sum(len(scenario.codecs[0].points) for scenario in reached.scenarios)
    own = [
        f"The codec at the top of the repository is one of them: `{scenario.scenario}` at "
        f"{text.number(point.ebpfp)} EBPFP, where {text.percent(point.retention)} % of the score is kept."
        for scenario in reached.scenarios
        for point in scenario.codecs[0].points
        if point.fingerprint == codec.fingerprint.hex()
    ]
    found = f"`{POINTS_FOLDER}/` holds the saved codecs of all {count} rate points, fitted for the scenario that they "
    how = "with the name of this repository"
    if tree_of(type(codec)) is not None:
        how += ", `@` and the commit whose source you have read, and `--trust-code`"
    found += f"are named after; `lamofcbench run --codecs` {how} runs those of a scenario."
    return " ".join([found, *own[:1]])


def _table(reached: Reached) -> str:
    percent = reached.summary.ranking_percent
    head = ("scenario", "EBPFP@95", "EBPFP@99", "state, MB", "encode, MB/s", "decode, MB/s")
    rows = (_row(scenario, scenario.codecs[0]) for scenario in reached.scenarios)
    words = [
        "EBPFP is the size of the bitstream in bits a feature point, where 32 is uncoded: the lowest at which 95 or "
        "99 % of the task's score above that of nothing sent is kept, over whole test splits."
    ]
    if reached.overall is not None:
        mean = text.estimate(reached.overall.ebpfp[str(percent)])
        count = sum(scenario.variant_of is None for scenario in reached.scenarios)
        over = "1 scenario that is no variant" if count == 1 else f"the {count} scenarios that are no variants"
        words.append(f"EBPFP@{percent} is {mean} over {over} (geometric mean).")
    return markdown_table(head, rows, right=range(1, len(head))) + "\n\n" + " ".join(words)


def _row(scenario: ScenarioSummary, codec: CodecSummary) -> list[str]:
    return [
        f"`{scenario.scenario}`",
        *(text.reached_rate(codec.retained_at(percent)) for percent in (95, 99)),
        text.number(codec.state_bytes / 1e6),
        *(text.number(speed.value) for speed in (codec.encode_mb_per_s, codec.decode_mb_per_s)),
    ]
