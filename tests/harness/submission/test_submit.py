"""Packing and sending: what goes out is checked first, and is what was packed."""

import json
import shutil

import pytest
from doctoring import edit_json
from huggingface_hub import CommitOperationDelete, HfApi
from loopback_hub import Blob

from harness.cli import main
from harness.results.hashes import recorded
from harness.submission import bitstreams
from harness.submission import pack as pack_module
from harness.submission.manifest import SubmissionError, read_manifest, submission_digest
from harness.submission.pack import Author, pack
from harness.submission.pull_requests import PullRequest, open_pull_request, parse_pull_request
from lamofcbench.codecs.registry import CODECS, make_codecs
from lamofcbench.errors import UnknownNameError

REPO = "org/results"


@pytest.fixture
def submit(run_results, toy_file, toy_data):
    """Runs the command."""

    def run(*arguments, results=run_results):
        known = ["--scenarios", toy_file, "--data", str(toy_data), "--name", "my-uniform", "--quiet"]
        return main(["submit", str(results), *known, *arguments])

    return run


def test_a_submission_says_who_what_and_how(packed):
    manifest = read_manifest(packed)
    assert (manifest.name, manifest.display_name, manifest.organisation) == (
        "my-uniform", "My uniform", "Institute of Things"
    )  # fmt: skip
    assert (manifest.codec.id, manifest.codec.identity) == ("uniform", manifest.codec.identity)
    assert (manifest.knowledge, manifest.licence, manifest.editions) == ("calibration", "Apache-2.0", [])
    (ladder,) = manifest.ladders
    assert ladder.scenario == "toy-directions@1" and ladder.chosen_by == "named"
    assert [point["step"] for point in ladder.points] == [0.25, 1.0]  # from the highest rate to the lowest
    for place, fingerprint in manifest.codec.fingerprints.items():
        result = json.loads((packed / "results" / place / "result.json").read_text())
        assert result["codec"]["fingerprint"] == fingerprint
        assert result["protocol_version"] == manifest.versions["protocol"]
    assert manifest.environment.keys() >= {"python", "platform", "processor", "device", "packages.torch"}


def test_results_are_packed_as_they_are_but_for_command_lines_and_single_bitstreams(packed, run_results):
    for place in read_manifest(packed).codec.fingerprints:
        ours, theirs = run_results / place, packed / "results" / place
        for name in ("result.json", "samples.parquet", "timings.parquet", "codec/config.json", "codec/fit.json"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        run = json.loads((theirs / "run.json").read_text())
        assert "argv" not in run and recorded(run)
        assert not (theirs / "bitstreams").exists() and (theirs / "bitstreams.safetensors").is_file()


def test_the_same_results_make_the_same_submission(packed, run_results, author, tmp_path):
    again = pack(run_results, tmp_path, author)
    assert submission_digest(again) == submission_digest(packed)


def test_what_older_code_left_in_the_folder_is_left_out_and_told(packed, run_results, author, tmp_path):
    results = shutil.copytree(run_results, tmp_path / "results")
    point = next(results.glob("*/uniform/*"))
    older = shutil.copytree(point, point.with_name("0" * 16))

    def by_older_code(result):
        codec = result["codec"] | {"identity": "lamofcbench:uniform@1", "params": {"step": 4.0}}
        return result | {"config_hash": older.name, "codec": codec}

    edit_json(older / "result.json", by_older_code)
    edit_json(older / "run.json", lambda run: run | {"asked": "2001-01-01T00:00:00"})
    told = []
    again = pack(results, tmp_path / "packed", author, tell=told.append)
    assert submission_digest(again) == submission_digest(packed)
    assert told == ["left out 1 result of older code; the newest is lamofcbench:uniform@2"]


def test_what_is_not_fit_to_be_submitted_is_refused_before_anything_is_written(run_results, tmp_path, make_runner, toy):
    cases = []
    short = shutil.copytree(run_results, tmp_path / "short")
    make_runner(results=short, limit=4).run_codec(make_codecs("zstd", toy.specs)[0])
    cases.append((short, "zstd", r"covers 4 of 22 samples; run it without --limit"))
    cases.append((short, None, r"of 2 codecs \(uniform, zstd\); name one with --codec"))
    bare = shutil.copytree(run_results, tmp_path / "bare")
    shutil.rmtree(next(bare.glob("*/uniform/*")) / "bitstreams")
    cases.append((bare, None, "has no bitstreams; run it with --bitstreams"))
    alone = shutil.copytree(run_results, tmp_path / "alone")
    shutil.rmtree(alone / "toy-directions@1" / "mean")
    cases.append((alone, None, "there is no result of mean"))
    for results, codec, message in cases:
        with pytest.raises(SubmissionError, match=message):
            pack(results, tmp_path / "out", Author(), codec)
    with pytest.raises(UnknownNameError, match="did you mean 'uniform'"):
        pack(run_results, tmp_path / "out", Author(), "unifrom")
    for author, message in [
        (Author(name="../up"), "is no name of a submission"),
        (Author(link="http://example.org"), "not fit for a submission: link: "),
        (Author(display_name="a\nb"), "not fit for a submission: display_name: "),
    ]:
        with pytest.raises(SubmissionError, match=message):
            pack(run_results, tmp_path / "out", author)
    assert not (tmp_path / "out").exists()


def test_what_no_validator_would_read_is_refused_at_home(run_results, tmp_path, make_runner, toy, author, monkeypatch):
    for limit, value, told in (
        ("MAX_FILES", 5, "it has 33 files and"),
        ("MAX_TOTAL_BYTES", 1000, "--sample-bitstreams"),
        ("objection", lambda name, size_bytes: "has a size" if name.endswith(".parquet") else "", "has a size"),
    ):
        with monkeypatch.context() as patched, pytest.raises(SubmissionError, match=f"cannot be submitted: .*{told}"):
            patched.setattr(pack_module, limit, value)
            pack(run_results, tmp_path / "packed", author)
    with monkeypatch.context() as patched, pytest.raises(SubmissionError, match="--sample-bitstreams shows a tenth"):
        patched.setattr(bitstreams, "MAX_FILE_BYTES", 1000)
        pack(run_results, tmp_path / "packed", author)
    results = shutil.copytree(run_results, tmp_path / "results")
    named = type("Named", (CODECS.get("zstd"),), {"name": "größe", "__module__": __name__})
    make_runner(results=results, verify_samples=0).run_codec(named(toy.specs))
    with pytest.raises(SubmissionError, match="'größe' cannot be submitted: there, names have the letters a to z"):
        pack(results, tmp_path / "packed", author, "größe")
    assert not list((tmp_path / "packed").glob("submissions/*"))


def test_results_of_some_scenarios_are_packed_alone(packed, run_results, author, tmp_path):
    folder = pack(run_results, tmp_path, author, scenarios=["toy-directions"])
    assert submission_digest(folder) == submission_digest(packed)
    with pytest.raises(UnknownNameError, match="uniform"):
        pack(run_results, tmp_path / "none", author, "uniform", scenarios=["mini-cvu-depth"])


def test_what_is_no_submission_is_not_replaced(run_results, tmp_path):
    (tmp_path / "submissions" / "mine").mkdir(parents=True)
    (tmp_path / "submissions" / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(SubmissionError, match="is there already and is no submission"):
        pack(run_results, tmp_path, Author(name="mine"))
    assert pack(run_results, tmp_path, Author(name="other")) == pack(run_results, tmp_path, Author(name="other"))


def test_a_dry_run_writes_the_folder_and_sends_nothing(submit, tmp_path, capsys):
    assert submit("--dry-run", "--output", str(tmp_path / "out")) == 0
    folder = tmp_path / "out" / "submissions" / "my-uniform"
    assert capsys.readouterr().out == f"{folder}\n" and read_manifest(folder).display_name == "uniform"


def test_it_opens_a_pull_request_and_prints_its_address(submit, hub, capsys):
    hub.repository(REPO)
    assert submit("--repo", REPO, "--display-name", "Mine", "--organisation", "Us") == 0
    printed = capsys.readouterr()
    assert printed.out == f"{hub.endpoint}/datasets/{REPO}/discussions/1\n"
    sent = hub.files(REPO, "refs/pr/1")
    assert "submissions/my-uniform/submission.json" in sent and not hub.files(REPO)
    assert len(sent) == 33 and all(path.startswith("submissions/my-uniform/") for path in sent)
    (discussion,) = hub.repositories["dataset", REPO].discussions
    assert discussion.title == "Mine: 1 scenario" and "By Us." in discussion.events[0]["data"]["latest"]["raw"]
    everything = printed.out + printed.err + "".join(str(blob.content) for blob in sent.values())
    assert "hf_owner" not in everything


def test_a_pull_request_is_brought_up_to_date_without_what_it_had_before(submit, hub, capsys, run_results, tmp_path):
    hub.repository(REPO)
    assert submit("--repo", REPO) == 0
    before = hub.files(REPO, "refs/pr/1")
    fewer = shutil.copytree(run_results, tmp_path / "fewer")
    shutil.rmtree(next((fewer / "toy-directions@1" / "uniform").iterdir()))
    assert submit("--repo", REPO, "--pull-request", "1", results=fewer) == 0
    after = hub.files(REPO, "refs/pr/1")
    assert len(hub.repositories["dataset", REPO].discussions) == 1 and len(after) < len(before)
    assert capsys.readouterr().out.splitlines()[1].endswith("/discussions/1")


def test_what_is_proposed_and_open_is_not_proposed_twice(submit, hub, capsys):
    hub.repository(REPO)
    assert submit("--repo", REPO) == 0
    capsys.readouterr()
    assert submit("--repo", REPO) != 0
    told = capsys.readouterr()
    assert told.out == "" and "org/results#1 proposes my-uniform already and is open; --pull-request 1" in told.err
    (discussion,) = hub.repositories["dataset", REPO].discussions
    discussion.author = "somebody-else"  # whose name for it may be the same
    assert submit("--repo", REPO) == 0 and capsys.readouterr().out.endswith("/discussions/2\n")
    discussion.author, discussion.status = "owner", "closed"
    hub.repositories["dataset", REPO].discussions[1].status = "closed"
    assert submit("--repo", REPO) == 0 and capsys.readouterr().out.endswith("/discussions/3\n")


def test_a_withdrawal_that_is_open_keeps_nobody_from_submitting(submit, hub, capsys):
    place = "submissions/my-uniform/submission.json"
    hub.repository(REPO).commit("main", {place: Blob(b"{}")})
    HfApi().create_commit(
        REPO, [CommitOperationDelete(place)], commit_message="Away", repo_type="dataset", create_pr=True
    )
    assert submit("--repo", REPO) == 0 and capsys.readouterr().out.endswith("/discussions/2\n")


def test_what_the_repository_holds_already_is_not_proposed_again(packed, hub):
    hub.repository(REPO)
    api = HfApi()
    assert open_pull_request(api, REPO, packed).endswith("/discussions/1")
    api.merge_pull_request(REPO, 1, repo_type="dataset")
    with pytest.raises(SubmissionError, match="the repository holds this very content already: submissions/my-uniform"):
        open_pull_request(api, REPO, packed)
    assert len(hub.repositories["dataset", REPO].discussions) == 1


def test_nothing_is_sent_that_a_maintainer_would_refuse(submit, hub, capsys, run_results, tmp_path):
    hub.repository(REPO)
    edited = shutil.copytree(run_results, tmp_path / "edited")
    edit_json(next(edited.glob("*/uniform/*")) / "result.json", lambda result: result.update(score=0.5))
    assert submit("--repo", REPO, results=edited) == 1
    assert "fault: results/toy-directions@1/uniform/" in capsys.readouterr().out
    assert not hub.uploads and not hub.repositories["dataset", REPO].discussions


def test_without_a_token_or_a_repository_it_says_so_at_once(submit, hub, capsys, monkeypatch):
    assert submit("--repo", "org/absent") == 1
    assert "there is no such repository" in capsys.readouterr().err
    assert submit() == 1
    assert "name the results repository with --repo" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    assert submit("--repo", REPO) == 1
    error = capsys.readouterr().err
    assert "the Hub does not say whose the token is" in error and "hf_nobody" not in error


def test_a_repository_that_is_none_is_told_before_anything_is_packed(submit, hub, capsys, monkeypatch):
    monkeypatch.setattr("harness.submission.pack.pack", lambda *args, **more: pytest.fail("it was packed"))
    for repo, said in (
        ("results", "'results' is no repository; write ORG/NAME"),
        ("org/resluts", "cannot see the results repository org/resluts: there is no such repository"),
    ):
        assert submit("--repo", repo) == 1
        assert said in capsys.readouterr().err


def test_addresses_of_pull_requests():
    expected = PullRequest("org/results", 12)
    for text in ("org/results#12", "https://huggingface.co/datasets/org/results/discussions/12",
                 "http://127.0.0.1:80/datasets/org/results/discussions/12",
                 "https://huggingface.co/datasets/org/results/discussions/12/files"):  # fmt: skip
        assert parse_pull_request(text) == expected
        assert parse_pull_request(f"{text}@{'a1' * 20}") == PullRequest("org/results", 12, "a1" * 20)
    for text in (
        "submissions/mine",
        "org/results#",
        "org#1",
        "../x#1",
        "org/results#1/..",
        "org/results#1@main",
        f"org/results#1@{'a1' * 20}0",
        "a/b/c#1",
        "org/results#-1",
        "org/results#1/files",
        "https://huggingface.co/datasets/org/results/discussions/12/..",
    ):
        assert parse_pull_request(text) is None
