"""The test double of the Hub does to the real client what the Hub does."""

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from loopback_hub import cutting, failing

NAME, KIND = "org/data", {"repo_type": "dataset"}


@pytest.fixture
def api(hub):
    HfApi().create_repo(NAME, **KIND)
    return HfApi()


def commit(api, files, **options):
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(NAME, operations, commit_message="files", **KIND, **options)


def test_files_come_back_and_what_is_there_is_not_sent_again(api, hub):
    commit(api, {"a/x.safetensors": b"1" * 1000, "README.md": b"hello"})
    sent = len(hub.uploads)
    commit(api, {"b/y.safetensors": b"1" * 1000, "README.md": b"hello"})
    assert len(hub.uploads) == sent == 2
    assert sorted(hub.files(NAME)) == ["README.md", "a/x.safetensors", "b/y.safetensors"]
    path = hf_hub_download(NAME, "b/y.safetensors", **KIND)
    assert Path(path).read_bytes() == b"1" * 1000


def test_a_commit_upon_another_than_the_newest_is_refused(api):
    first = commit(api, {"a": b"1"}).oid
    commit(api, {"a": b"2"})
    with pytest.raises(HfHubHTTPError, match="412"):
        commit(api, {"a": b"3"}, parent_commit=first)


def test_what_is_not_there_has_the_error_of_the_hub(api):
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("org/absent", "a", **KIND)
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(NAME, "a", revision="v9", **KIND)
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(NAME, "a", **KIND)


def test_pull_requests_are_opened_read_commented_renamed_and_merged(api, hub):
    opened = commit(api, {"sub/r.json": b"{}"}, create_pr=True, commit_description="what it is")
    (found,) = api.get_repo_discussions(NAME, discussion_type="pull_request", discussion_status="open", **KIND)
    assert (found.num, found.title) == (opened.pr_num, "files") and "sub/r.json" not in hub.files(NAME)
    assert Path(hf_hub_download(NAME, "sub/r.json", revision=opened.pr_revision, **KIND)).read_text() == "{}"
    comment = api.comment_discussion(NAME, 1, "first words", **KIND)
    api.edit_discussion_comment(NAME, 1, comment.id, "better words", **KIND)
    api.rename_discussion(NAME, 1, "[verified] files", **KIND)
    details = api.get_discussion_details(NAME, 1, **KIND)
    assert details.title == "[verified] files"
    assert [event.content for event in details.events if event.type == "comment"] == ["what it is", "better words"]
    api.merge_pull_request(NAME, 1, **KIND)
    assert "sub/r.json" in hub.files(NAME)


def test_it_fails_when_told_to(api, hub):
    hub.faults.append(failing(1, lambda request: "/commit/" in request.path, 500))
    with pytest.raises(HfHubHTTPError, match="500"):
        commit(api, {"a": b"1"})
    commit(api, {"a": b"1"})


def test_the_second_commit_fails_when_told_to(api, hub):
    hub.faults.append(failing(1, lambda request: "/commit/" in request.path, 500, after=1))
    commit(api, {"a": b"1"})
    with pytest.raises(HfHubHTTPError, match="500"):
        commit(api, {"a": b"2"})


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(api, hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)  # what the client keeps is whole chunks
    commit(api, {"x.safetensors": bytes(3000)})
    hub.faults.append(cutting(1, lambda request: request.method == "GET" and "/resolve/" in request.path, 1000))
    path = hf_hub_download(NAME, "x.safetensors", **KIND)
    assert Path(path).read_bytes() == bytes(3000)
    assert hub.fetched_bytes["x.safetensors"] == 3000


def test_what_is_sent_is_counted_by_file(api, hub):
    commit(api, {"x.safetensors": bytes(3000), "README.md": b"hello"})
    assert sorted(hub.sent_bytes.values()) == [5, 3000] and hub.sent_bytes["README.md"] == 5


def test_commits_are_listed_and_discussions_closed(api):
    commit(api, {"a": b"1"})
    newest = commit(api, {"a": b"2"}).oid
    assert api.list_repo_commits(NAME, **KIND)[0].commit_id == newest
    num = api.create_discussion(NAME, "A question", **KIND).num
    assert not api.get_discussion_details(NAME, num, **KIND).is_pull_request
    api.change_discussion_status(NAME, num, "closed", **KIND)
    assert not list(api.get_repo_discussions(NAME, discussion_status="open", **KIND))


def test_writing_takes_a_token(api, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    with pytest.raises(HfHubHTTPError, match="401"):
        commit(api, {"a": b"1"})
