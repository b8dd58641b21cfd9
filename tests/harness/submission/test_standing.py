"""What stands on a content is changed by a closer look, and by no less close one but for faults."""

import dataclasses
import json
import shutil

import pytest
from reviewing import KIND, REPO, comments, said

from harness.cli import main
from harness.submission import review as review_module
from harness.submission import review_comment
from harness.submission.findings import Findings
from harness.submission.manifest import submission_digest
from harness.submission.pull_requests import open_pull_request
from harness.submission.review import review
from harness.submission.standing import AS_CLOSE, LACKS_TRUST
from harness.submission.validate import verdict_of
from lamofcbench.version import __version__


def newest(hub, revision):
    return hub.repositories["dataset", REPO].refs[revision]


def trusting_at(hub, number, scrutiny):
    """How a maintainer reviews a pull request whose source was read as it is."""
    return {number: newest(hub, f"refs/pr/{number}")}, dataclasses.replace(scrutiny, trust_code=True)


def test_a_closer_look_than_the_verdict_that_stands_is_taken_and_a_less_close_one_changes_nothing(
    api, slight, discussions, own_source, capsys, hub
):
    def reviewed(*closer):
        read = f"1@{newest(hub, 'refs/pr/1')}"
        assert main(["review", "--repo", REPO, "--pull-request", read, "--quiet", *closer]) == 0
        printed = capsys.readouterr()
        return printed.out.split()[1], said(printed.err)

    open_pull_request(api, REPO, slight)
    assert reviewed() == ("consistent", "") and reviewed() == ("unchanged", "")
    assert reviewed("--trust-code") == ("verified", "")
    before = [discussions[0].title, comments(discussions[0])]
    assert before[0].startswith("[verified] ") and "Looked more closely than usual: trusted." in before[1][-1]
    assert reviewed() == ("unchanged", "")
    for closer, why in ((["--trust-code"], AS_CLOSE), (["--full"], LACKS_TRUST), (["--again"], LACKS_TRUST)):
        outcome, told = reviewed(*closer)
        assert outcome == "unchanged" and f"{REPO}#1 unchanged: {why}" in told
    assert [discussions[0].title, comments(discussions[0])] == before
    assert reviewed("--trust-code", "--full")[0] == reviewed("--trust-code", "--fresh", "5")[0] == "verified"
    assert reviewed("--fresh", "6", "--trust-code")[0] == "unchanged"
    assert own_source == ["", "trusted", "", "trusted full", "trusted full fresh=5"]


def test_another_version_without_trust_leaves_what_was_verified_with_it(
    api, reviewed, scrutiny, slight, discussions, own_source, monkeypatch, hub
):
    open_pull_request(api, REPO, slight)
    numbers, trusting = trusting_at(hub, 1, scrutiny)
    assert [one.outcome for one in review(api, REPO, trusting, numbers=numbers)] == ["verified"]
    text = comments(discussions[0])[-1]
    for module in (review_module, review_comment):
        monkeypatch.setattr(module, "__version__", "999.0")
    assert (reviewed()[1].outcome, reviewed()[1].reason) == ("unchanged", "")
    assert comments(discussions[0])[-1] == text.replace(f" by {__version__} ", " by 999.0 ")
    assert discussions[0].title.startswith("[verified] ") and own_source == ["trusted", ""]


def test_a_fault_is_told_whoever_finds_it_and_stays_until_as_close_a_look_finds_none(
    api, reviewed, scrutiny, slight, discussions, monkeypatch, hub
):
    open_pull_request(api, REPO, slight)
    numbers, trusting = trusting_at(hub, 1, scrutiny)

    def judge(level):
        def judged(folder, scrutiny, tell):
            made = verdict_of(folder.name, submission_digest(folder), Findings(folder), looked=scrutiny.looked)
            return made.model_copy(update={"level": level})

        monkeypatch.setattr(review_module, "validate", judged)

    outcomes = []
    for level, look in (("verified", trusting), ("refused", scrutiny), ("refused", trusting), ("consistent", scrutiny)):
        judge(level)
        outcomes += [one.outcome for one in review(api, REPO, look, numbers=numbers, again=True)]
    assert outcomes == ["verified", "refused", "refused", "unchanged"]
    assert discussions[0].title.startswith("[refused] ")


def test_one_merged_submission_that_is_named_is_validated_with_trust_and_keeps_its_verdict(
    api, slight, hub, own_source, capsys
):
    def updated(*arguments):
        code = main(["review", "--repo", REPO, "--merged", "--quiet", *arguments])
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), said(printed.err)

    def level():
        return json.loads(hub.files(REPO)["verdicts/my-uniform.json"].content)["level"]

    open_pull_request(api, REPO, slight)
    api.merge_pull_request(REPO, 1, **KIND)
    open_pull_request(api, REPO, shutil.copytree(slight, slight.parent / "other"))
    assert updated()[:2] == (0, [f"{REPO}#2 consistent", "my-uniform consistent"])
    named = ["--submission", "my-uniform"]
    code, printed, told = updated(*named, "--trust-code")
    assert (code, printed) == (1, []) and f"then name it with @{newest(hub, 'main')} behind" in told
    read = ["--submission", f"my-uniform@{newest(hub, 'main')}"]
    assert updated(*read, "--trust-code") == (0, ["my-uniform verified"], "") and level() == "verified"
    assert updated(*read, "--trust-code")[:2] == (0, [])  # what was read is there still, a verdict later
    for closer, why in (([], ""), (["--full"], LACKS_TRUST), (["--again"], LACKS_TRUST)):
        code, printed, told = updated(*named, *closer)
        assert (code, printed) == (0, []) and why in told and level() == "verified"
    assert updated("--again")[1][1:] == [] and level() == "verified"
    code, printed, told = updated("--submission", "absent")
    assert (code, printed) == (1, []) and "holds no merged submission 'absent'" in told


def test_a_source_runs_as_it_was_read_and_not_as_it_has_become(api, slight, renamed, hub, own_source, capsys):
    def reviewed(*named):
        code = main(["review", "--repo", REPO, "--trust-code", "--quiet", *named])
        return code, said(capsys.readouterr().err)

    open_pull_request(api, REPO, slight)
    before = newest(hub, "refs/pr/1")
    code, told = reviewed("--pull-request", "1")
    assert code == 1 and f"then name it with @{before} behind" in told
    open_pull_request(api, REPO, renamed, into=1)
    now = newest(hub, "refs/pr/1")
    code, told = reviewed("--pull-request", f"1@{before}")
    assert code == 1 and f"{REPO}#1 is at {now} today, no more at {before}" in told
    assert main(["validate", f"{REPO}#1", "--trust-code", "--quiet"]) == 1
    assert f"then name it with @{now} behind" in said(capsys.readouterr().err)
    assert own_source == []
    assert reviewed("--pull-request", f"1@{now}") == (0, "") and own_source == ["trusted"]
    api.merge_pull_request(REPO, 1, **KIND)
    merged = newest(hub, "main")
    open_pull_request(api, REPO, slight)
    api.merge_pull_request(REPO, 2, **KIND)
    code, told = reviewed("--merged", "--submission", f"my-uniform@{merged}")
    assert code == 1 and f"has changed since {merged}" in told and own_source == ["trusted"]
    with pytest.raises(SystemExit):
        reviewed("--pull-request", "1@abcdef")
    assert "no number, alone or with @ and a commit" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        reviewed("--merged", "--submission", "my-uniform@main")
    assert "no name, alone or with @ and a commit" in capsys.readouterr().err and own_source == ["trusted"]


@pytest.mark.parametrize("named", [[], ["--pull-request", "1"]])
def test_a_merged_submission_is_named_beside_merged_alone(api, slight, capsys, named):
    merged = ["--merged"] if named else []
    assert main(["review", "--repo", REPO, "--submission", "my-uniform", *merged, *named]) == 1
    assert "--submission names what was merged" in capsys.readouterr().err
