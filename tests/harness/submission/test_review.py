"""Review says in a comment and in the title what a pull request came to; a second review changes nothing."""

import json
import shutil

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from loopback_hub import Blob, failing
from reviewing import KIND, REPO, comments

from harness.cli import main
from harness.submission import merged
from harness.submission import review as review_module
from harness.submission.findings import Findings
from harness.submission.manifest import MANIFEST_FILE, SubmissionError, submission_digest
from harness.submission.merged import update_verdicts
from harness.submission.pull_requests import changes_of, open_pull_request, parse_pull_request
from harness.submission.review import titled
from harness.submission.review_comment import MARK, REPLACES, comment_text
from harness.submission.validate import verdict_of
from harness.submission.verdict import NOTHING_READ, Fault, Verdict
from lamofcbench.version import __version__


def as_other(monkeypatch, work):
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    done = work()
    monkeypatch.setenv("HF_TOKEN", "hf_owner")
    return done


def propose(api, files, title="a change", deleted=()):
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    operations += [CommitOperationDelete(path) for path in deleted]
    return api.create_commit(REPO, operations, commit_message=title, create_pr=True, **KIND)


@pytest.mark.usefixtures("judged")
def test_each_pull_request_gets_its_verdict_and_a_second_review_changes_nothing(
    api, reviewed, slight, renamed, discussions, hub, monkeypatch
):
    as_other(monkeypatch, lambda: open_pull_request(api, REPO, slight))
    as_other(monkeypatch, lambda: open_pull_request(api, REPO, renamed))
    propose(api, {"README.md": b"text"}, "Better words")
    found = reviewed()
    assert {number: one.outcome for number, one in found.items()} == {1: "verified", 2: "refused", 3: "no submission"}
    assert found[1].verdict.digest == submission_digest(slight)
    assert [one.title for one in discussions] == [
        "[verified] My uniform: 1 scenario", "[refused] Renamed: 1 scenario", "Better words"
    ]  # fmt: skip
    assert [one.status for one in discussions] == ["open"] * 3 and not hub.files(REPO)  # none is merged
    (_, good), (_, bad) = comments(discussions[0]), comments(discussions[1])
    assert "**verified**" in good and "manifests read: 1 of 1" in good
    assert "**refused**" in bad and f"{MANIFEST_FILE}: is another one" in bad
    before = [json.dumps([one.title, one.events]) for one in discussions]
    assert {one.outcome for one in reviewed().values()} == {"unchanged", "no submission"}
    assert [json.dumps([one.title, one.events]) for one in discussions] == before


@pytest.mark.usefixtures("judged")
def test_a_new_commit_is_judged_anew_in_the_same_comment(api, reviewed, slight, renamed, discussions):
    open_pull_request(api, REPO, renamed)
    assert reviewed()[1].outcome == "refused"
    open_pull_request(api, REPO, slight, into=1)
    assert reviewed()[1].outcome == "verified"
    (discussion,) = discussions
    assert discussion.title == "[verified] Renamed: 1 scenario"
    _, comment = comments(discussion)
    assert "**verified**" in comment and "**refused**" not in comment


@pytest.mark.usefixtures("judged")
def test_no_title_is_about_a_commit_that_came_while_another_was_validated(
    api, reviewed, slight, renamed, discussions, monkeypatch
):
    judge = review_module.validate

    def meanwhile(folder, scrutiny, tell):
        open_pull_request(api, REPO, renamed, into=1)
        return judge(folder, scrutiny, tell)

    open_pull_request(api, REPO, slight)
    with monkeypatch.context() as pushed:
        pushed.setattr(review_module, "validate", meanwhile)
        found = reviewed()[1]
    assert found.outcome == "failed" and "has changed while it was validated" in found.reason
    assert discussions[0].title == "My uniform: 1 scenario"
    assert reviewed()[1].outcome == "refused" and discussions[0].title.startswith("[refused] ")


@pytest.mark.usefixtures("judged")
def test_who_was_refused_gets_no_other_draw(api, reviewed, slight, renamed, discussions, monkeypatch):
    full, judge = [], review_module.validate
    monkeypatch.setattr(
        review_module,
        "validate",
        lambda folder, scrutiny, tell: full.append(scrutiny.full) or judge(folder, scrutiny, tell),
    )
    open_pull_request(api, REPO, renamed)
    reviewed()
    refused = changes_of(api, parse_pull_request(f"{REPO}#1")).commit
    open_pull_request(api, REPO, slight, into=1)
    reviewed()
    reviewed(again=True)
    assert full == [False, True, True]
    (_, comment) = comments(discussions[0])
    assert f"Refused before at `{refused[:8]}`." in comment


@pytest.mark.usefixtures("judged")
def test_a_comment_or_a_title_that_somebody_else_wrote_counts_for_nothing(
    api, reviewed, renamed, discussions, monkeypatch
):
    def forge():
        open_pull_request(api, REPO, renamed)
        commit = changes_of(api, parse_pull_request(f"{REPO}#1")).commit
        text = f"<!-- lamofcbench verdict verified on {commit} by {__version__} --> **verified**"
        assert MARK.search(text)
        api.comment_discussion(REPO, 1, text, **KIND)
        api.rename_discussion(REPO, 1, "[Verified] [verified] Mine", **KIND)

    as_other(monkeypatch, forge)
    assert reviewed()[1].outcome == "refused"
    assert discussions[0].title == "[refused] Mine" and len(comments(discussions[0])) == 3
    api.rename_discussion(REPO, 1, "[verified] Mine", **KIND)
    assert reviewed()[1].outcome == "unchanged" and discussions[0].title == "[refused] Mine"


@pytest.mark.parametrize(
    ("files", "deleted", "what"),
    [
        ({"submissions/mine/submission.json": b"{}", "verdicts/mine.json": b"{}"}, (), "verdicts/mine.json"),
        ({"verdicts/mine.json": b"{}"}, (), "one submission"),
        ({"submissions/mine/submission.json": b"{}", ".gitattributes": b""}, (), ".gitattributes"),
        ({"submissions/mine/submission.json": b"{}"}, ("README.md",), "README.md"),
        ({"submissions/a/submission.json": b"{}", "submissions/b/submission.json": b"{}"}, (), "one submission"),
        ({"submissions/Mine/submission.json": b"{}"}, (), "one submission"),
        ({"submissions/mine": b"{}"}, (), "submissions/mine"),
        ({"submissions/mine/evil.pkl": b"cos"}, (), "evil.pkl"),
    ],
)
def test_what_is_more_than_one_submission_is_refused_and_never_fetched(api, reviewed, hub, files, deleted, what):
    hub.repository(REPO).commit("main", {"README.md": Blob(b"text")})
    propose(api, files, deleted=deleted)
    one = reviewed()[1]
    assert one.outcome == "refused" and one.verdict.digest == NOTHING_READ
    assert what in " ".join(map(str, one.verdict.faults))
    assert not [request for request in hub.requests if request.startswith("GET submissions/")]


@pytest.mark.usefixtures("judged")
def test_a_pull_request_upon_an_older_commit_takes_nothing_away(api, reviewed, slight, hub):
    open_pull_request(api, REPO, slight)
    hub.repository(REPO).commit("main", {"submissions/other/submission.json": Blob(b"{}")})
    assert reviewed()[1].outcome == "verified"


def test_a_withdrawal_is_left_to_the_maintainers(api, reviewed, packed, hub, discussions):
    files = {"submissions/mine/submission.json": Blob(b"{}"), "submissions/mine/results": Blob(b"")}
    hub.repository(REPO).commit("main", files)
    propose(api, {}, "Take mine away", deleted=list(files))
    propose(api, {}, "Take a part of mine away", deleted=["submissions/mine/results"])
    found = reviewed()
    assert (found[1].outcome, found[2].outcome) == ("withdrawal", "refused")
    assert discussions[0].title == "Take mine away" and not discussions[0].events


@pytest.mark.usefixtures("judged")
def test_one_that_cannot_be_fetched_does_not_keep_the_others_waiting(api, reviewed, slight, hub):
    open_pull_request(api, REPO, slight)
    open_pull_request(api, REPO, slight)
    hub.faults.append(failing(1, lambda request: "/commits/" in request.path, 400))
    found = reviewed()
    assert found[1].outcome == "failed" and found[1].reason and found[2].outcome == "verified"


def test_nor_does_one_that_nobody_has_thought_of(api, reviewed, slight, monkeypatch):
    open_pull_request(api, REPO, slight)

    def surprising(*arguments, **options):
        raise RecursionError("deep")

    monkeypatch.setattr(review_module, "validate", surprising)
    one = reviewed()[1]
    assert (one.outcome, one.reason) == ("failed", "unexpected RecursionError: deep")


@pytest.mark.usefixtures("judged")
def test_one_that_is_named_and_not_open_is_a_failure_and_the_others_are_reviewed(api, slight, discussions, capsys):
    open_pull_request(api, REPO, slight)
    open_pull_request(api, REPO, slight)
    discussions[0].status = "merged"
    assert main(["review", "--repo", REPO, "--pull-request", "77", "2", "1", "--quiet"]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"{REPO}#1 failed", f"{REPO}#2 verified", f"{REPO}#77 failed"]
    for number in (1, 77):
        assert f"{REPO}#{number} could not be validated: it is not open" in printed.err


@pytest.mark.usefixtures("judged")
def test_whoever_merges_is_told_that_a_row_is_replaced(
    api, reviewed, slight, hub, discussions, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    open_pull_request(api, REPO, slight)
    hub.repository(REPO).commit("main", {"submissions/my-uniform/submission.json": Blob(b"{}")})
    open_pull_request(api, REPO, slight)
    reviewed(again=True)
    assert all(REPLACES in comments(one)[-1] for one in discussions)
    assert main(["validate", f"{REPO}#1"]) == 0
    assert f"{REPO}#1: {REPLACES}" in capsys.readouterr().err


@pytest.mark.usefixtures("judged")
def test_merged_submissions_get_a_verdict_on_their_very_content(api, scrutiny, slight, renamed, hub):
    open_pull_request(api, REPO, slight)
    assert not list(update_verdicts(api, REPO, scrutiny))
    api.merge_pull_request(REPO, 1, **KIND)
    (verdict,) = update_verdicts(api, REPO, scrutiny)
    kept = Verdict.model_validate_json(hub.files(REPO)["verdicts/my-uniform.json"].content)
    assert kept == verdict and kept.level == "verified" and kept.digest == submission_digest(slight)
    assert not list(update_verdicts(api, REPO, scrutiny))
    open_pull_request(api, REPO, renamed)
    api.merge_pull_request(REPO, 2, **KIND)
    assert [found.level for found in update_verdicts(api, REPO, scrutiny)] == ["refused"]


def test_what_was_merged_although_it_is_no_submission_is_refused_by_its_digest(api, scrutiny, hub):
    files = {"submissions/mine/submission.json": Blob(b"{}"), "submissions/mine/evil.pkl": Blob(b"cos")}
    hub.repository(REPO).commit("main", files)
    (verdict,) = update_verdicts(api, REPO, scrutiny)
    assert verdict.level == "refused" and verdict.digest != NOTHING_READ
    assert not list(update_verdicts(api, REPO, scrutiny))


def test_a_merged_one_that_nobody_has_thought_of_does_not_keep_the_others_waiting(api, scrutiny, hub, monkeypatch):
    def judge(folder, scrutiny, tell):
        if folder.name == "one":
            raise RecursionError("deep")
        return verdict_of(folder.name, submission_digest(folder), Findings(folder))

    monkeypatch.setattr(merged, "validate", judge)
    hub.repository(REPO).commit("main", {f"submissions/{name}/submission.json": Blob(b"{}") for name in ("one", "two")})
    made = update_verdicts(api, REPO, scrutiny)
    assert next(made).submission == "two"
    with pytest.raises(SubmissionError, match=r"1 submissions could not be validated: one \(RecursionError: deep\)"):
        next(made)


@pytest.mark.parametrize("refused", ["submissions/one/evil.pkl", "/commit/"])
def test_nor_does_one_that_the_hub_refuses_to_give_or_to_take(api, scrutiny, hub, refused):
    files = {f"submissions/{name}/evil.pkl": Blob(b"cos") for name in ("one", "two")}
    hub.repository(REPO).commit("main", files)
    hub.faults.append(failing(1, lambda request: refused in request.path, 403))
    made = update_verdicts(api, REPO, scrutiny)
    assert next(made).submission == "two" and "verdicts/two.json" in hub.files(REPO)
    with pytest.raises(SubmissionError, match=r"1 submissions could not be validated: one \(HubError: .*403"):
        next(made)
    assert [verdict.submission for verdict in update_verdicts(api, REPO, scrutiny)] == ["one"]


def test_each_verdict_is_committed_once_it_is_made_whoever_commits_meanwhile(api, scrutiny, hub):
    files = {f"submissions/{name}/evil.pkl": Blob(b"cos") for name in ("one", "two")}
    hub.repository(REPO).commit("main", files)
    made = update_verdicts(api, REPO, scrutiny)
    assert next(made).submission == "one" and "verdicts/one.json" in hub.files(REPO)
    api.create_commit(REPO, [CommitOperationAdd("README.md", b"text")], commit_message="Better words", **KIND)
    assert [verdict.submission for verdict in made] == ["two"]
    assert {"verdicts/one.json", "verdicts/two.json", "README.md"} <= set(hub.files(REPO))


def test_what_is_merged_under_no_name_of_a_submission_is_told(api, scrutiny, hub):
    hub.repository(REPO).commit("main", {f"submissions/{name}/evil.pkl": Blob(b"cos") for name in ("two", "o n e")})
    told = []
    assert [verdict.submission for verdict in update_verdicts(api, REPO, scrutiny, warn=told.append)] == ["two"]
    assert told == ["submissions/'o n e' is no name of a submission; it gets no verdict"]
    with pytest.raises(SubmissionError, match="holds no merged submission 'o n e'"):
        next(update_verdicts(api, REPO, scrutiny, only="o n e"))


@pytest.mark.parametrize("named", [[], ["--pull-request", "1", "--merged"], ["--merged"]])
def test_a_strangers_source_runs_only_where_its_pull_request_is_named(api, slight, capsys, discussions, named):
    open_pull_request(api, REPO, slight)
    assert main(["review", "--repo", REPO, "--trust-code", *named]) == 1
    assert "read the source, then name its pull request" in capsys.readouterr().err
    assert len(discussions[0].events) == 1  # nothing was said


def test_the_commands(api, packed, discussions, toy_file, toy_data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_pull_request(api, REPO, packed)
    known = ["--scenarios", toy_file, "--data", str(toy_data), "--quiet"]
    assert main(["review", "--repo", REPO, "--output", "kept", *known]) == 0
    assert capsys.readouterr().out == f"{REPO}#1 verified\n"
    assert "predictions made anew by the tail" in comments(discussions[0])[-1]
    assert json.loads((tmp_path / "kept" / "pr-1-my-uniform.json").read_text())["level"] == "verified"
    assert main(["validate", f"{REPO}#1", "--seed", "5", *known]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith("my-uniform: verified (seed 5, files ")
    assert json.loads((tmp_path / "my-uniform.verdict.json").read_text())["seed"] == 5
    folder = shutil.copytree(packed, tmp_path / "board" / "submissions" / "my-uniform")
    (folder / "surplus").write_text("")
    assert main(["validate", str(folder), *known]) == 1
    assert "fault: surplus: is no part of a submission" in capsys.readouterr().out
    assert json.loads((tmp_path / "board" / "verdicts" / "my-uniform.json").read_text())["level"] == "refused"


def test_nothing_of_a_submission_is_markup_in_a_comment(tmp_path):
    fault = Fault(file="x", sample="1 (</div>)", fault="``` <script>alert(1)</script> @everyone [x](https://evil)")
    findings = Findings(tmp_path)
    findings.count("``` <script>", 1, 1, "``` @everyone")
    verdict = verdict_of("mine", NOTHING_READ, findings)
    verdict = verdict.model_copy(update={"faults": [fault] * 80, "level": "refused"})
    text = comment_text(verdict, "0" * 40)
    fenced = text.split("```")
    assert len(fenced) == 5 and "<script>" in fenced[1] and "and 30 more" in fenced[1]
    assert not any("<script>" in part or "evil" in part for part in fenced[::2])


def test_titles():
    assert titled("Mine", "verified") == "[verified] Mine"
    assert titled("[refused] Mine [verified]", "verified") == "[verified] Mine [verified]"
    assert len(titled("x" * 300, "verified")) == 200
