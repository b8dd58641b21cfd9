"""Whatever the Hub's client raises is one line without a secret; what is not the client's passes."""

import json

import pytest
from huggingface_hub.errors import RevisionResolutionError

from lamofcbench.errors import DataError
from lamofcbench.hub import HubError, check_repository, hub_errors, signed_in

TOKEN = "hf_" + "Ab3" * 12


def told(error, cause=None):
    with pytest.raises(HubError) as caught, hub_errors("it stopped"):
        raise error from cause
    assert "\n" not in str(caught.value) and caught.value.__cause__ is error
    return str(caught.value)


def test_an_upload_that_failed_is_told_with_its_cause():
    said = told(RuntimeError("Error while uploading 'x' to the Hub."), ConnectionError("refused"))
    assert said == "it stopped: RuntimeError: Error while uploading 'x' to the Hub. (ConnectionError: refused)"


def test_a_list_of_errors_is_more_than_its_heading():
    assert told(ValueError("LFS batch API returned errors:\nfile 1: `quota`")).endswith("errors: file 1: `quota`")


def test_a_page_in_place_of_json_a_missing_key_and_a_revision_are_told():
    with pytest.raises(HubError, match="it stopped: JSONDecodeError: Expecting value"), hub_errors("it stopped"):
        json.loads("<html>")
    assert told(KeyError("files")) == "it stopped: KeyError: 'files'"
    assert told(RevisionResolutionError("Cannot resolve")) == "it stopped: RevisionResolutionError: Cannot resolve"


@pytest.mark.parametrize("raised", [DataError("ours"), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_raised_on_purpose_and_what_stops_the_process_passes(raised):
    with pytest.raises(type(raised)) as caught, hub_errors("it stopped"):
        raise raised
    assert caught.value is raised


@pytest.mark.parametrize(
    "secret",
    [
        f"Illegal header value b'Bearer {TOKEN}\\x01'",
        f"invalid token {TOKEN}",
        f"cannot reach http://user:{TOKEN[3:]}@proxy:80",
        f"403 for url 'https://storage/x?signature={TOKEN[3:]}'",
    ],
)
def test_no_secret_is_told(secret):
    assert TOKEN[3:] not in told(RuntimeError(secret), ValueError(secret))


def test_a_token_that_no_header_can_hold_is_not_told(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ownér")
    with pytest.raises(HubError, match="UnicodeEncodeError") as caught:
        signed_in()
    assert "hf_own" not in str(caught.value)


def test_a_repository_has_an_owner_and_a_name():
    for repo in ("org/name", "O-r.g_1/2name"):
        check_repository(repo)
    for repo in ("noslash", "", "/name", "org/", "a/b/c", "org/.name", "org/na me", "org/ñ", "org/name\n"):
        with pytest.raises(HubError, match=r"is no repository; write ORG/NAME$") as caught:
            check_repository(repo)
        assert "\n" not in str(caught.value)
