"""What nobody has replayed has its own row, at most: nothing shown of others changes, and no board is broken."""

import json
import shutil
import unicodedata
from types import SimpleNamespace

import pytest
from test_compile import DIGITS, SPEECH, write_ladder, write_results, writer_of
from test_entries import verdict

from harness.leaderboard.compile import SUBJECT, _of_one_subject, compile_board
from harness.leaderboard.entries import MOST_RESULTS, Entry, find_entries
from harness.leaderboard.measured import Measured
from harness.leaderboard.page import drawn, render
from harness.report import scored
from harness.report.analysis import ScenarioAnalysis
from harness.statistics.bootstrap import resample_indices as draws
from harness.submission.verdict import NOTHING_READ

OTHER = "mini-cau-requests"
LADDER = {0.5: (4.0, 0.98, 1e-3), 1.0: (1.0, 0.97, 1e-2), 2.0: (0.5, 0.5, 0.3)}


def manifest_of(name, **fields):
    return {
        "name": name, "display_name": name.title(), "licence": "MIT", "knowledge": "other data",
        "codec": {"id": "channel", "identity": "lamofcbench:channel@1", "fingerprints": {}}, "editions": [],
        "ladders": [{"scenario": f"{DIGITS}@2", "chosen_by": "named", "points": [{"step": 1.0}]}],
        "bitstreams": "whole", "versions": {}, "environment": {}, **fields,
    }  # fmt: skip


def submission(root, name, **fields):
    """A submission without results; returns the folder of these."""
    folder = root / "submissions" / name
    (folder / "results").mkdir(parents=True)
    (folder / "submission.json").write_text(json.dumps(manifest_of(name, **fields)))
    return folder / "results"


def strange(results, score=None):
    """Results of the digits scenario; what scores they state is made of what their samples give."""
    for codec, ebpfp, usual, params in [
        ("identity", 32.1, 0.98, {}), ("mean", 0.25, 0.1, {}),
        *(("channel", rate, figure, {"step": step}) for step, (rate, figure, _) in LADDER.items()),
    ]:  # fmt: skip
        writer_of(results, **({"score": score(usual)} if score else {})).write(
            codec, ebpfp=ebpfp, score=usual, params=params
        )


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A repository with one verified submission."""
    root = tmp_path_factory.mktemp("repository")
    write_results(submission(root, "mine"), codecs=("channel",))
    (root / "verdicts").mkdir()
    (root / "verdicts" / "mine.json").write_text(json.dumps(verdict(root / "submissions" / "mine", "verified")))
    return root


@pytest.fixture(scope="module")
def before(checked):
    return compile_board([checked], "org/results", resamples=0).editions[0]


@pytest.fixture
def root(checked, tmp_path):
    return shutil.copytree(checked, tmp_path / "repository")


def made(root):
    """The board, of which the page can be drawn, too."""
    board = compile_board([root], "org/results", resamples=0)
    render(board)
    return board


def unchanged(edition, before):
    """Whether all stands as it did before another entry came: the row, the scenarios and their figures' frames."""
    (row,) = [row for row in edition.rows if row.submission == "mine"]
    kept = {scenario.id for scenario in before.scenarios}
    scenarios = [scenario for scenario in edition.scenarios if scenario.id in kept]
    return (
        row == before.rows[0]
        and (edition.percent, scenarios) == (before.percent, before.scenarios)
        and drawn(edition.model_copy(update={"scenarios": scenarios})) == drawn(before)
    )


def judge(results, level, *replayed):
    """Writes a verdict on a submission that says which of its scenarios were replayed, and to what part."""
    told = [{"scenario": scenario, "results": number, "of": of} for scenario, number, of in replayed]
    path = results.parents[2] / "verdicts" / f"{results.parent.name}.json"
    path.write_text(json.dumps(verdict(results.parent, level, replayed=told)))


@pytest.mark.parametrize("name", ["aaa", "zzz"])
@pytest.mark.parametrize("level", [None, "consistent"])
def test_what_is_measured_of_a_scenario_is_the_best_checked_entrys(root, before, name, level):
    results = submission(root, name)
    strange(results, lambda score: 0.5 * score)
    if level:
        (root / "verdicts" / f"{name}.json").write_text(json.dumps(verdict(results.parent, level)))
    edition = made(root).editions[0]
    assert len(edition.rows) == 2 and (edition.percent, edition.scenarios) == (before.percent, before.scenarios)
    (row,) = [row for row in edition.rows if row.submission == "mine"]
    assert row.scenarios[DIGITS].value == before.rows[0].scenarios[DIGITS].value


@pytest.mark.parametrize(
    ("samples", "test_samples", "reason"),
    [(400, 400, "it states test samples 400"), (400, 650, "it covers 400 of 650")],
)
def test_samples_that_a_scenario_does_not_have_decide_nothing(root, before, samples, test_samples, reason):
    writer = writer_of(submission(root, "zzz"))
    writer.samples, writer.test_samples = samples, test_samples
    writer.anchor_and_floor(0.5, 0.1)
    write_ladder(writer, "channel", LADDER)
    board = made(root)
    assert unchanged(board.editions[0], before)
    assert any(one.what == f"zzz, {DIGITS}" and one.reason.startswith(reason) for one in board.left_out)


def test_no_memory_is_taken_for_more_samples_than_a_scenario_has(root, before, monkeypatch):
    writer = writer_of(submission(root, "zzz"))
    writer.samples = writer.test_samples = 2000
    writer.anchor_and_floor(0.5, 0.1)
    write_ladder(writer, "channel", LADDER)
    counts = []
    monkeypatch.setattr(
        scored, "resample_indices", lambda count, *rest, **named: counts.append(count) or draws(count, *rest, **named)
    )
    board = compile_board([root], "org/results", resamples=20)
    assert max(counts) == 650
    assert any("states 2000 test samples; at most 650 count" in one.reason for one in board.left_out)


@pytest.mark.parametrize("largest", [1.7e308, 1e300, 1e16])
def test_scores_that_no_figure_can_hold_are_left_out(root, before, largest):
    strange(submission(root, "zzz"), lambda score: largest * (2 * (score > 0.5) - 1))
    board = made(root)
    assert unchanged(board.editions[0], before) and len(board.editions[0].rows) == 1
    assert any("scores or rates beyond 1e+15" in one.reason for one in board.left_out if one.what.startswith("zzz"))


def test_scores_beyond_all_others_do_not_widen_the_figure(root, before):
    strange(submission(root, "zzz"), lambda score: 1e6 * score)
    edition = made(root).editions[0]
    assert unchanged(edition, before) and len(edition.rows) == 2


def test_numbers_that_break_the_analysis_cost_their_own_entry_alone(root, before):
    results = submission(root, "zzz")
    strange(results)
    for path in results.glob("*/*/*/result.json"):
        content = json.loads(path.read_text())
        content["rate"]["raw_bits"] = 10**400
        path.write_text(json.dumps(content))
    board = made(root)
    assert unchanged(board.editions[0], before)
    (told,) = [one for one in board.left_out if one.what == "zzz"]
    assert "\n" not in told.reason and str(root) not in told.reason


def test_a_failure_that_nobody_has_thought_of_is_told_in_a_line(root, before, monkeypatch):
    from harness.leaderboard import compile as module

    strange(submission(root, "zzz"))
    usual = module.drawn

    def failing(edition):
        if any(row.submission == "zzz" for row in edition.rows):
            raise ZeroDivisionError("one\ntwo")
        return usual(edition)

    monkeypatch.setattr(module, "drawn", failing)
    board = made(root)
    assert unchanged(board.editions[0], before)
    assert [(one.what, one.reason) for one in board.left_out] == [("zzz", "cannot be shown: one")]


def test_a_scenario_that_others_lack_takes_no_mean_from_them(root, before):
    results = submission(root, "zzz")
    write_results(results, codecs=("channel",))
    writer = writer_of(results, OTHER)
    writer.anchor_and_floor()
    write_ladder(writer, "channel", LADDER)
    edition = made(root).editions[0]
    assert unchanged(edition, before)
    (row,) = [row for row in edition.rows if row.submission == "zzz"]
    assert OTHER in row.scenarios and row.overall.value == before.rows[0].overall.value


def test_only_what_somebody_has_checked_is_ranked_and_results_folders(root, before, tmp_path):
    strange(submission(root, "zzz", knowledge="nothing"))
    folder = write_results(tmp_path / "results", codecs=("uniform",))
    board = compile_board([root, folder], "both", resamples=0)
    ranks = {row.submission: row.scenarios[DIGITS].rank for row in board.editions[0].rows}
    assert ranks == {"mine": 1, "": 2, "zzz": None}
    first = min(board.editions[0].rows, key=lambda row: row.scenarios[DIGITS].value)
    assert first.submission == "zzz" and first.scenarios[DIGITS].class_rank is None


@pytest.mark.parametrize("replayed", [[], [(f"{DIGITS}@2", 4, 5)], [(f"{DIGITS}@1", 5, 5)]])
@pytest.mark.parametrize("name", ["aaa", "zzz"])
def test_invented_scores_of_what_was_not_replayed_are_shown_and_not_ranked(root, before, name, replayed):
    results = submission(root, name, display_name="Mine")
    strange(results)
    judge(results, "consistent", *replayed)
    edition = made(root).editions[0]
    assert unchanged(edition, before)
    (row,) = [row for row in edition.rows if row.submission == name]
    assert (row.level, row.not_replayed, row.scenarios[DIGITS].rank) == ("consistent", [DIGITS], None)
    assert row.scenarios[DIGITS].value < before.rows[0].scenarios[DIGITS].value


def test_what_was_replayed_in_part_has_ranks_where_it_was(root, before):
    results = submission(root, "zzz")
    write_results(results, codecs=("channel",))
    judge(results, "consistent", (f"{DIGITS}@2", 5, 5))
    edition = made(root).editions[0]
    (row,) = [row for row in edition.rows if row.submission == "zzz"]
    assert row.not_replayed == [SPEECH] and row.scenarios[DIGITS].rank == 1  # as the row of the same results
    assert row.scenarios[SPEECH].rank is row.overall.rank is row.overall.class_rank is None
    judge(results, "consistent", (f"{DIGITS}@2", 5, 5), (f"{SPEECH}@1", 5, 5))
    (row,) = [row for row in made(root).editions[0].rows if row.submission == "zzz"]
    assert row.not_replayed == [] and row.overall.rank == 1


@pytest.mark.parametrize("name", ["Mine", "\N{FULLWIDTH LATIN CAPITAL LETTER M}ine", "Mine (mine)"])
def test_no_name_changes_for_one_that_is_less_checked(root, before, name):
    strange(submission(root, "aaa", display_name=name))
    edition = made(root).editions[0]
    assert unchanged(edition, before)
    assert len({unicodedata.normalize("NFKC", row.codec) for row in edition.rows}) == 2


def test_marks_do_not_pile_up_over_other_rows(root):
    strange(submission(root, "zzz", display_name="Z" + 60 * "\N{COMBINING ACUTE ACCENT}" + "a"))
    (row,) = [row for row in made(root).editions[0].rows if row.submission == "zzz"]
    assert row.codec == "Z" + 2 * "\N{COMBINING ACUTE ACCENT}" + "a"


def test_another_codec_of_the_submitted_ones_name_gets_no_row(root, before):
    results = submission(root, "zzz")
    writer = writer_of(results)
    writer.anchor_and_floor()
    for number in range(3):
        writer.write("channel", ebpfp=1.0, score=0.98, identity=f"file:{number}.py#" + 64 * "0")
    board = made(root)
    assert unchanged(board.editions[0], before) and len(board.editions[0].rows) == 1
    assert ("zzz", "it has no results of the codec that it submits") in [
        (one.what, one.reason) for one in board.left_out
    ]


def test_no_number_of_unchecked_rows_outweighs_a_checked_one():
    def entry(level, revision, rows):
        told = {**dict.fromkeys(SUBJECT, "same"), "data_revision": revision}
        codecs = [SimpleNamespace(role="codec", name="a", identity="b")] * rows
        summary = SimpleNamespace(**told, codecs=codecs, version=2)
        replayed = SimpleNamespace(has_replayed=lambda ref: level == "consistent")
        entry = Entry(None, level, verdict=replayed, submission=revision)
        return Measured(entry, {DIGITS: ScenarioAnalysis(summary, {}, [])})

    found = [entry("consistent", "right", 1), entry("not verified", "wrong", 10_000_000)]
    kept, left_out = _of_one_subject(found)
    assert [list(one.analyses) for one in kept] == [[DIGITS], []]
    assert [one.what for one in left_out] == [f"wrong, {DIGITS}"]


# --------------------------------------------------------------------------------------------- before anything is read


def test_a_submission_too_large_to_be_read_is_refused_by_its_verdict(root, before):
    strange(submission(root, "zzz"))
    fault = {"file": "submission.json", "sample": None, "fault": "at most 100000 files are fetched"}
    refused = verdict(root / "submissions" / "zzz", "refused", digest=NOTHING_READ, faults=[fault])
    (root / "verdicts" / "zzz.json").write_text(json.dumps(refused))
    board = made(root)
    assert board.editions[0].rows == before.rows
    assert [(one.what, one.reason) for one in board.refused] == [("zzz", "at most 100000 files are fetched")]


def test_a_verdict_that_read_nothing_verifies_nothing(root):
    strange(submission(root, "zzz"))
    told = verdict(root / "submissions" / "zzz", "verified", digest=NOTHING_READ)
    (root / "verdicts" / "zzz.json").write_text(json.dumps(told))
    assert {row.submission: row.level for row in made(root).editions[0].rows}["zzz"] == "not verified"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt: is no part of a submission"),
        (lambda folder: (folder / "results" / "link").symlink_to("/"), "results/link: is no regular file"),
        (
            lambda folder: [(folder / f"results/a@1/b/{n:016x}").mkdir(parents=True) for n in range(MOST_RESULTS + 1)],
            f"results/a@1: holds {MOST_RESULTS + 1} results; at most {MOST_RESULTS} count",
        ),
    ],
)  # fmt: skip
def test_a_folder_that_is_none_of_a_submission_is_refused_unread(root, spoil, reason):
    submission(root, "zzz")
    spoil(root / "submissions" / "zzz")
    entries, (refused,) = find_entries([root])
    assert [entry.submission for entry in entries] == ["mine"] and (refused.what, refused.reason) == ("zzz", reason)


def test_a_link_to_a_submission_is_refused(root):
    (root / "submissions" / "zzz").symlink_to(root / "submissions" / "mine")
    entries, (refused,) = find_entries([root])
    assert [entry.submission for entry in entries] == ["mine"] and refused.reason == "zzz: is a link"
