"""Who was refused, or of which submission one was, is looked at whole in every other pull request."""

import shutil

import pytest
from reviewing import KIND, REPO, comments

from harness.submission import refusals
from harness.submission.pull_requests import open_pull_request


@pytest.fixture
def sent(api, monkeypatch):
    """Opens a pull request as somebody."""

    def send(folder, token="hf_other"):
        monkeypatch.setenv("HF_TOKEN", token)
        open_pull_request(api, REPO, folder)
        monkeypatch.setenv("HF_TOKEN", "hf_owner")

    return send


@pytest.fixture
def another(slight):
    """A submission of another name."""
    return shutil.copytree(slight, slight.parent / "another")


@pytest.mark.parametrize("told", ["closed", "open"])
def test_a_refused_author_or_name_is_looked_at_whole_in_another_pull_request(
    api, reviewed, slight, renamed, another, judged, discussions, sent, told
):
    sent(renamed)
    assert reviewed()[1].outcome == "refused"
    discussions[0].status = told
    api.rename_discussion(REPO, 1, "Mine", **KIND)
    sent(another)  # by the author who was refused
    sent(slight, "hf_owner")  # of the name that was refused
    found = reviewed()
    assert (found[2].outcome, found[3].outcome) == ("verified", "verified")
    assert judged == ["", "full", "full"]
    assert all("Refused before in #1. " in comments(one)[-1] for one in discussions[1:])
    assert {one.outcome for one in reviewed().values()} == {"unchanged"}


def test_others_are_looked_at_as_usual_and_no_more_than_so_many_are_read(
    reviewed, slight, renamed, another, judged, sent, monkeypatch
):
    sent(renamed)
    sent(another, "hf_owner")
    sent(slight)
    reviewed()
    assert judged == ["", "", "full"]  # the third by the author of the first, which this very run refused
    monkeypatch.setattr(refusals, "MOST_READ", 1)  # the newest
    sent(slight)
    reviewed()
    assert judged[3:] == [""]


def test_a_refusal_that_somebody_else_wrote_counts_for_nothing(
    api, reviewed, slight, renamed, another, judged, discussions, sent, monkeypatch
):
    sent(renamed)
    reviewed()
    forged = comments(discussions[0])[-1]
    discussions[0].events.clear()
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    api.comment_discussion(REPO, 1, forged, **KIND)
    monkeypatch.setenv("HF_TOKEN", "hf_owner")
    discussions[0].status = "closed"
    sent(slight, "hf_owner")
    reviewed()
    assert judged == ["", ""]
