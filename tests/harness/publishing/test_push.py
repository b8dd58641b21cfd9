"""A codec as a repository: whole, with what it reached on its card, and run by name and commit."""

import json
from pathlib import Path

import pytest
import yaml
from loopback_hub import Blob, failing

from dataset_builders.publishing.eval_yaml import eval_yaml
from harness.cli import main
from harness.publishing.eval_results import DatasetCommit, _overall_notes
from harness.publishing.push import push, reached_by, write_repository
from harness.report.summary import Estimate, RetainedRate
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import load_saved, make_codecs
from lamofcbench.errors import CodecError, LaMoFCBenchError
from lamofcbench.hub import HubError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.layout import Manifest, json_checksum, read_manifest
from lamofcbench.storage.sources import find_source

REPO, SCENARIO = "me/my-codec", "mini-cvu-digits-hard"
COMMIT = "0123456789" * 4
MINE = """
import zlib

from lamofcbench.codecs.base import Codec


class Mine(Codec):
    name = "mine"

    def encode_tensor(self, spec, tensor):
        return zlib.compress((tensor.float() / 1000).round().char().numpy().tobytes())

    def decode_tensor(self, spec, payload, shape):
        import torch

        return torch.frombuffer(bytearray(zlib.decompress(payload)), dtype=torch.int8).reshape(shape) * 1000.0
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    arguments = ["--codecs", "uniform:step=1", "uniform:step=4", "--verify-samples", "0", "--results", str(folder)]
    assert main(["run", "--scenarios", SCENARIO, *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def saved(results):
    return next(iter(sorted(results.glob(f"{SCENARIO}@*/uniform/*/codec"))))


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    (codec,) = make_codecs(f"{tmp_path / 'mine.py'}:Mine", SCENARIOS.get(SCENARIO).specs)
    return codec


@pytest.fixture
def dataset(hub):
    """A benchmark of the data that the results are of, as far as a push asks for it."""
    path = Path(find_source(SCENARIOS.get(SCENARIO)).uri) / SCENARIO / "manifest.json"
    return benchmark(hub, path.read_bytes(), read_manifest(path))


def benchmark(hub, manifest_bytes, *manifests):
    content = {f"{SCENARIO}/manifest.json": Blob(manifest_bytes), "eval.yaml": Blob(eval_yaml(manifests).encode())}
    return DatasetCommit("org/features", hub.repository("org/features").commit("main", content))


def files(hub):
    return {path: blob.content for path, blob in hub.files(REPO, kind="model").items()}


def test_the_repository_holds_codec_card_curves_and_results(saved, results, hub, dataset):
    push(load_saved(saved), REPO, results=results, dataset=dataset)
    found = files(hub)
    for name in ("config.json", "model.safetensors"):
        assert found[name] == (saved / name).read_bytes()
    own = {"config.json", "model.safetensors"}
    points = {f"points/{SCENARIOS.get(SCENARIO).ref}/{number}/{name}" for number in (1, 2) for name in own}
    assert set(found) == own | points | {"README.md", f"curves/{SCENARIO}.png", ".eval_results/lamofcbench.yaml"}
    assert found[f"curves/{SCENARIO}.png"].startswith(b"\x89PNG")
    card = found["README.md"].decode()
    assert f"![{SCENARIO}](curves/{SCENARIO}.png)" in card and "features of a scenario's calibration split" in card
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["library_name"]) == ("apache-2.0", "lamofcbench")


def test_the_results_file_has_an_entry_a_scenario_and_the_headline_at_the_datasets_commit(saved, results, hub, dataset):
    push(load_saved(saved), REPO, results=results, dataset=dataset)
    from huggingface_hub import parse_eval_result_entries

    entries = parse_eval_result_entries(yaml.safe_load(files(hub)[".eval_results/lamofcbench.yaml"]))
    assert [entry.task_id for entry in entries] == [SCENARIO, "overall"]
    assert {(entry.dataset_id, entry.dataset_revision) for entry in entries} == {("org/features", dataset.commit)}
    assert entries[0].value == pytest.approx(entries[1].value) and 0 < entries[0].value < 32


def test_the_repository_runs_the_whole_curve_of_a_scenario(saved, results, hub):
    push(load_saved(saved), REPO, results=results)
    scenario = SCENARIOS.get(SCENARIO)
    found = make_codecs(REPO, scenario.specs, scenario=scenario.ref)
    measured = {load_saved(path).fingerprint for path in results.glob(f"{SCENARIO}@*/uniform/*/codec")}
    assert {codec.fingerprint for codec in found} == measured and [codec.params.step for codec in found] == [4, 1]
    (other,) = make_codecs(REPO, scenario.specs, scenario="mini-cvu-digits@1")
    assert other.fingerprint == load_saved(saved).fingerprint
    card = files(hub)["README.md"].decode()
    assert "all 2 rate points" in card and f"is one of them: `{SCENARIO}` at" in card
    assert "with the name of this repository runs those" in card and "--trust-code" not in card


def test_the_card_of_a_codec_with_its_own_source_says_how_its_points_run(saved, results, mine, tmp_path):
    write_repository(mine, REPO, tmp_path / "repository", reached_by(load_saved(saved), results), None, "mit")
    card = (tmp_path / "repository" / "README.md").read_text()
    assert "`@` and the commit whose source you have read, and `--trust-code` runs those of a scenario" in card


def test_what_a_codec_reached_goes_when_another_takes_its_place(saved, results, hub, mine, dataset):
    push(load_saved(saved), REPO, results=results, dataset=dataset)
    push(mine, REPO)
    assert set(files(hub)) == {"config.json", "model.safetensors", "README.md", "source/mine.py"}
    load_saved(saved).push_to_hub(REPO)
    assert "source/mine.py" not in files(hub)


def test_a_pushed_codec_comes_back_by_name_and_runs(saved, hub, tmp_path):
    push(load_saved(saved), REPO)
    assert Codec.from_pretrained(REPO).fingerprint == load_saved(saved).fingerprint
    commit = hub.repositories["model", REPO].refs["main"]
    arguments = ["--limit", "8", "--verify-samples", "0", "--results", str(tmp_path / "results")]
    assert main(["run", "--scenarios", SCENARIO, "--codecs", f"{REPO}@{commit}", *arguments]) == 0


def test_the_mixins_own_push_writes_the_card_too(saved, hub):
    load_saved(saved).push_to_hub(REPO)
    card = files(hub)["README.md"].decode()
    assert f'Codec.from_pretrained("{REPO}", revision="COMMIT")' in card
    assert set(files(hub)) == {"config.json", "model.safetensors", "README.md"}


def test_source_from_the_hub_runs_only_where_it_is_trusted_by_name_and_commit(mine, hub):
    push(mine, REPO)
    commit = hub.repositories["model", REPO].refs["main"]
    assert "trust_code=True" in files(hub)["README.md"].decode() and "source/mine.py" in files(hub)
    with pytest.raises(CodecError, match="runs its own source"):
        Codec.from_pretrained(f"{REPO}@{commit}")
    with pytest.raises(CodecError, match=f"trusted at one commit only; .* name it {REPO}@{commit}"):
        Codec.from_pretrained(REPO, trust_code=True)
    assert Codec.from_pretrained(f"{REPO}@{commit}", trust_code=True).fingerprint == mine.fingerprint


def test_results_of_another_codec_or_of_a_part_of_the_test_split_are_refused(mine, saved, hub, tmp_path, results):
    with pytest.raises(LaMoFCBenchError, match="none of them"):
        push(mine, REPO, results=results)
    arguments = ["--limit", "8", "--verify-samples", "0", "--results", str(tmp_path / "part")]
    assert main(["run", "--scenarios", SCENARIO, "--codecs", "uniform:step=1", *arguments]) == 0
    with pytest.raises(LaMoFCBenchError, match="only on parts of test splits"):
        push(load_saved(saved), REPO, results=tmp_path / "part")


def test_the_command_says_what_is_amiss_and_prints_the_commit(saved, hub, capsys):
    command = ["push", str(saved), "--repo", REPO]
    assert main([*command, "--dataset", f"org/features@{COMMIT}"]) == 1
    assert "name their folder with --results" in capsys.readouterr().err
    assert main(command) == 0
    assert f"{hub.endpoint}/{REPO}/commit/" in capsys.readouterr().out


def test_there_is_no_headline_where_the_benchmark_has_more_than_was_run(saved, results, hub, dataset):
    manifest = read_manifest(Path(find_source(SCENARIOS.get(SCENARIO)).uri) / SCENARIO / "manifest.json")
    variant, other = "mini-cvu-digits-hard-shallow", "mini-clu-facts"
    for more, expected in ((variant, [SCENARIO, "overall"]), (other, [SCENARIO])):
        wider = benchmark(
            hub,
            hub.files("org/features", dataset.commit)[f"{SCENARIO}/manifest.json"].content,
            manifest,
            manifest.model_copy(update={"scenario": more}),
        )
        push(load_saved(saved), REPO, results=results, dataset=wider)
        entries = yaml.safe_load(files(hub)[".eval_results/lamofcbench.yaml"])
        assert [entry["dataset"]["task_id"] for entry in entries] == expected


def test_results_of_other_data_than_the_datasets_are_not_told_as_its(saved, results, hub, dataset):
    content = json.loads(hub.files("org/features")[f"{SCENARIO}/manifest.json"].content)
    content["data_revision"] = "another"
    content["checksum"] = json_checksum(content)
    elsewhere = benchmark(hub, json.dumps(content).encode(), Manifest.model_validate(content))
    with pytest.raises(LaMoFCBenchError, match=r"are of data revision .* holds version 2 and another: run on its data"):
        push(load_saved(saved), REPO, results=results, dataset=elsewhere)
    assert ("model", REPO) not in hub.repositories
    none = Manifest.model_validate(content).model_copy(update={"scenario": "mini-clu-facts"})
    with pytest.raises(LaMoFCBenchError, match="has no task for any scenario of the results; it has mini-clu-facts"):
        push(load_saved(saved), REPO, results=results, dataset=benchmark(hub, b"", none))


def test_a_dataset_is_named_with_its_commit():
    assert DatasetCommit.parse(f"org/features@{COMMIT}") == DatasetCommit("org/features", COMMIT)
    with pytest.raises(LaMoFCBenchError, match="write org/name@<40 hex digits>"):
        DatasetCommit.parse("org/features@main")


def test_an_answer_that_is_none_is_one_line(mine, hub):
    hub.faults.append(failing(99, lambda request: "/preupload/" in request.path, 200))
    with pytest.raises(HubError, match="cannot push to the model repository me/my-codec: ValueError: "):
        push(mine, REPO)


def test_the_headline_says_on_how_many_scenarios_the_rate_is_a_bound():
    never, at_most, found = (
        RetainedRate(percent=95, ebpfp=Estimate(value=value), bound=bound, compression=32 / value)
        for value, bound in ((32.0, "never"), (0.5, "at most"), (2.0, None))
    )
    assert _overall_notes([found]) == "EBPFP@95, geometric mean over 1 scenario; lower is better"
    assert _overall_notes([never, found, never, at_most]) == (
        "EBPFP@95, geometric mean over 4 scenarios; lower is better; on 1 of them at most: even the lowest rate point "
        "keeps so much; on 2 of them never kept: counted as 32"
    )


def test_no_repository_is_made_of_a_name_without_an_owner(mine, hub):
    with pytest.raises(HubError, match="'noslash' is no repository; write ORG/NAME"):
        push(mine, "noslash")
    assert not hub.repositories


def test_a_hub_that_refuses_is_one_line(saved, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    with pytest.raises(HubError) as caught:
        push(load_saved(saved), REPO)
    assert "\n" not in str(caught.value) and not Path(REPO).exists()
