"""A dataset folder on the Hub: whole at every commit, sent once, readable with and without this package."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import constants
from loopback_hub import Blob, cutting, failing

import lamofcbench
from dataset_builders.publishing.card import SNIPPET, _licence
from dataset_builders.publishing.upload import publish
from harness.cli import main
from lamofcbench.errors import DataError
from lamofcbench.hub import HubError, MovedError
from lamofcbench.storage import open_split
from lamofcbench.storage.layout import read_manifest

REPO = "org/features"
SCENARIO, OTHER = "mini-cvu-digits-hard", "mini-cvu-digits-hard-shallow"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two scenarios in a folder; those of a model share the cache of the test run."""
    folder = tmp_path_factory.mktemp("built")
    assert main(["build", SCENARIO, OTHER, "--output", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def folder(built, tmp_path):
    """A copy of the first alone, to change."""
    shutil.copytree(built / SCENARIO, tmp_path / "data" / SCENARIO)
    shutil.copy(built / "README.md", tmp_path / "data")
    return tmp_path / "data"


def shards(files):
    return [path for path in files if path.endswith(".safetensors")]


def test_the_repository_holds_what_a_reader_needs(folder, hub):
    done = publish(folder, REPO)
    files = hub.files(REPO, done.commit)
    manifest = read_manifest(folder / SCENARIO / "manifest.json")
    expected = {f"{SCENARIO}/{path.name}" for path in (folder / SCENARIO).iterdir()}
    assert set(files) == expected | {"README.md", "eval.yaml", "facts.json"}
    assert files[f"{SCENARIO}/manifest.json"].content == (folder / SCENARIO / "manifest.json").read_bytes()
    assert (done.sent_files, done.present_files) == (len(manifest.splits), 0)
    assert done.url.endswith(f"/datasets/{REPO}/tree/{done.commit}")


def test_the_benchmark_file_has_a_task_a_scenario_and_the_overall_one(folder, hub):
    publish(folder, REPO)
    found = yaml.safe_load(hub.files(REPO)["eval.yaml"].content)
    assert found["evaluation_framework"] == "lamofcbench" and found["name"] and found["description"]
    assert found["tasks"] == [{"id": SCENARIO, "config": SCENARIO, "split": "test"}, {"id": "overall"}]


def test_shards_are_there_before_anything_names_them(folder, hub):
    publish(folder, REPO)
    first, *others = [files for files in hub.repositories["dataset", REPO].commits.values() if files]
    assert list(first) == shards(first) and f"{SCENARIO}/manifest.json" in others[-1]


def test_the_card_names_the_licence_that_all_scenarios_have():
    digits = ("mini-cvu-digits", SCENARIO)
    assert _licence(dict.fromkeys(digits)) == {"license": "cc-by-4.0"}
    for names in ((*digits, "mini-clu-facts"), ("ctti-coco-canny",), ("a stranger's",)):
        assert _licence(dict.fromkeys(names)) == {"license": "other", "license_name": "see-each-scenario"}


def test_no_repository_is_made_of_a_name_without_an_owner(tmp_path, hub):
    with pytest.raises(HubError, match="'features' is no repository; write ORG/NAME"):
        publish(tmp_path, "features")
    assert not hub.repositories


def test_publishing_the_same_again_sends_nothing(folder, hub):
    first = publish(folder, REPO)
    sent = len(hub.uploads)
    again = publish(folder, REPO)
    assert len(hub.uploads) == sent and again.commit == first.commit
    assert (again.sent_files, again.present_files) == (0, first.sent_files)


def test_an_interrupted_upload_goes_on_where_it_stopped(folder, hub):
    hub.faults.append(failing(1, lambda request: "/commit/" in request.path, 500))
    with pytest.raises(HubError, match="the same command goes on, and sends nothing again that is there"):
        publish(folder, REPO)
    sent = shards_sent(hub, folder)
    assert sent and not hub.files(REPO)
    publish(folder, REPO)
    assert shards_sent(hub, folder) == sent and f"{SCENARIO}/test.parquet" in hub.files(REPO)


def test_what_an_interrupted_upload_has_committed_is_not_even_asked_for_again(folder, hub, monkeypatch):
    monkeypatch.setattr("dataset_builders.publishing.upload.COMMIT_FILES", 1)
    hub.faults.append(failing(1, lambda request: "/commit/" in request.path, 500, after=1))
    with pytest.raises(HubError):
        publish(folder, REPO)
    (there,) = hub.files(REPO)
    done = publish(folder, REPO)
    assert (done.sent_files, done.present_files) == (1, 1) and there in hub.files(REPO)
    for path in shards(hub.files(REPO)):
        blob = hub.files(REPO)[path]
        assert hub.sent_bytes[blob.oid] == len(blob.content)


@pytest.mark.parametrize(
    ("stopped", "status", "said"),
    [
        ("/lfs/", 403, "to the Hub. (HfHubHTTPError: 403 Forbidden"),
        ("/api/datasets/org/features/preupload/", 200, "ValueError: "),
    ],
)
def test_a_storage_that_refuses_and_an_answer_that_is_none_are_one_line(folder, hub, capsys, stopped, status, said):
    hub.faults.append(failing(99, lambda request: request.path.startswith(stopped), status))
    assert main(["publish", str(folder), "--repo", REPO, "--quiet"]) == 1
    *_, line = capsys.readouterr().err.splitlines()  # the client draws bars before
    assert "the same command goes on, and sends nothing again that is there" in line and said in line
    hub.faults.clear()
    assert main(["publish", str(folder), "--repo", REPO, "--quiet"]) == 0


def shards_sent(hub, folder):
    hashes = {shard.sha256 for split in read_manifest(folder / SCENARIO / "manifest.json").splits.values()
              for shard in split.shards}  # fmt: skip
    return [oid for oid in hub.uploads if oid in hashes]


def test_a_second_publisher_is_noticed(folder, hub, tmp_path):
    def meanwhile(request):
        if "/commit/" in request.path:
            hub.faults.clear()
            (tmp_path / "theirs").mkdir()
            (tmp_path / "theirs" / "notes.md").write_text("theirs")
            hub.commit(REPO, "main", tmp_path / "theirs")

    hub.faults.append(meanwhile)
    with pytest.raises(MovedError, match="somebody else has committed to org/features since"):
        publish(folder, REPO)
    assert list(hub.files(REPO)) == ["notes.md"]


def test_a_second_publisher_of_the_same_data_is_noticed_although_nothing_is_left_to_send(folder, built, hub):
    def meanwhile(line):
        if line.startswith("sending"):
            publish(built, REPO)

    with pytest.raises(MovedError, match="somebody else has committed to org/features since"):
        publish(folder, REPO, tell=meanwhile)
    assert set(json.loads(hub.files(REPO)["facts.json"].content)) == {SCENARIO, OTHER}
    publish(folder, REPO)
    assert set(json.loads(hub.files(REPO)["facts.json"].content)) == {SCENARIO, OTHER}


def test_another_scenario_is_added_and_the_card_names_both(folder, built, hub, tmp_path):
    publish(folder, REPO)
    shutil.copytree(built / OTHER, tmp_path / "other" / OTHER)
    shutil.copy(built / "README.md", tmp_path / "other")
    publish(tmp_path / "other", REPO)
    card = hub.files(REPO)["README.md"].content.decode()
    configs = yaml.safe_load(card.split("---")[1])["configs"]
    assert [config["config_name"] for config in configs] == [SCENARIO, OTHER]
    assert (
        card.count("| `block.7` |") == 1
        and card.count("| channel spread |") == 2
        and f"### `{SCENARIO}`" in card
        and f"### `{OTHER}`" in card
    )
    assert len(yaml.safe_load(hub.files(REPO)["eval.yaml"].content)["tasks"]) == 3


def test_former_shards_go_with_the_commit_that_replaces_them(folder, hub):
    publish(folder, REPO)
    before = shards(hub.files(REPO))
    stale = f"{SCENARIO}/test-00000-of-00001-00000000.safetensors"
    files = dict(hub.files(REPO))
    files[stale] = files.pop(before[-1])
    hub.repository(REPO).commit("main", files)
    publish(folder, REPO)
    assert shards(hub.files(REPO)) == before


def test_data_that_change_after_they_were_verified_are_not_published(folder, hub, monkeypatch):
    shard = next((folder / SCENARIO).glob("test-*.safetensors"))

    def meanwhile(line):
        if line.startswith("verified"):
            shard.write_bytes(shard.read_bytes()[:-1] + b"?")

    with pytest.raises(DataError, match="has changed since it was verified"):
        publish(folder, REPO, tell=meanwhile)
    assert not hub.files(REPO)


def test_facts_of_others_that_are_no_figures_do_not_reach_the_card(folder, hub):
    hub.repository(REPO).commit("main", {"facts.json": Blob(b'{"x": [1], "y": {"t": {"median": "<script>"}}}')})
    publish(folder, REPO)
    assert set(json.loads(hub.files(REPO)["facts.json"].content)) == {SCENARIO}


def test_damaged_data_are_not_sent(folder, hub):
    shard = next((folder / SCENARIO).glob("test-*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="nothing was sent, and `lamofcbench verify"):
        publish(folder, REPO)
    assert not hub.uploads


def test_a_folder_without_data_and_a_person_without_a_token_are_told(folder, hub, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds no dataset"):
        publish(tmp_path, REPO)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(HubError, match="token"):
        publish(folder, REPO)


def test_the_command_prints_the_address(folder, hub, capsys):
    assert main(["publish", str(folder), "--repo", REPO]) == 0
    out, err = capsys.readouterr()
    assert out.strip().startswith(f"{hub.endpoint}/datasets/{REPO}/tree/") and "verified" in err


# ------------------------------------------------------------------------------------------------------------- reading


def test_a_reader_at_the_commit_fetches_the_shards_that_it_reads(folder, hub):
    done = publish(folder, REPO)
    hub.requests.clear()
    reader = open_split(SCENARIO, "test", f"hf://datasets/{REPO}@{done.commit}")
    assert not shards(hub.requests) and len(reader) == 70
    reader.features(0)
    fetched = {request.split()[1].partition("@")[0] for request in hub.requests if ".safetensors" in request}
    assert fetched == {path for path in hub.files(REPO) if path.startswith(f"{SCENARIO}/test-")}
    stream = lamofcbench.load_dataset(SCENARIO, "test", repo=REPO, revision=done.commit, streaming=True)
    assert next(iter(stream))["sample_id"] == reader.sample_id(0)


def test_a_shard_whose_download_was_cut_off_is_not_fetched_from_its_beginning(folder, hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)  # what the client keeps is whole chunks
    done = publish(folder, REPO)
    (shard,) = [path for path in shards(hub.files(REPO)) if "/test-" in path]
    hub.faults.append(cutting(1, lambda request: request.method == "GET" and shard in request.path, 1000))
    reader = open_split(SCENARIO, "test", f"hf://datasets/{REPO}@{done.commit}")
    reader.features(0)
    assert hub.fetched_bytes[shard] == len(hub.files(REPO)[shard].content)


def test_a_name_that_is_no_repository_is_refused():
    with pytest.raises(DataError, match="names no dataset repository; write hf://datasets/org/name"):
        open_split(SCENARIO, "test", "hf://org/name")


def test_the_cards_lines_get_a_tensor_without_this_package(folder, hub, tmp_path):
    """In a process that cannot import it."""
    publish(folder, REPO)
    card = hub.files(REPO)["README.md"].content.decode()
    snippet = card.split("```python\n")[1].split("```")[0]
    assert snippet == SNIPPET.format(repo=REPO, scenario=SCENARIO, tensor="block.7") and len(snippet.splitlines()) <= 10
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['lamofcbench'] = None\n")
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(tmp_path),
                   "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", "PATH": "/usr/bin:/bin"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", snippet], env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    reader = open_split(SCENARIO, "test", folder)
    assert done.stdout.startswith(f"{reader.sample_id(0)} {reader.reference(0)} tensor(")


def test_facts_are_json_of_what_the_card_shows(folder, hub):
    publish(folder, REPO)
    facts = json.loads(hub.files(REPO)["facts.json"].content)
    assert set(facts) == {SCENARIO} and facts[SCENARIO]["block.7"]["channel_spread"] > 1
