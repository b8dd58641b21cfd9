"""What was imported runs to a score: the one that the same samples have when they are built here, in every family."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dataset_builders.full.published.importing import import_published
from dataset_builders.full.published.naming import spellings
from dataset_builders.full.raw import RawData
from harness.commands.build import builder_of
from harness.running.runner import ScenarioRunner
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split

FULL_TESTS = Path(__file__).parents[2] / "dataset_builders" / "full"
sys.path[:0] = [str(FULL_TESTS), str(FULL_TESTS / "published")]
try:
    import published_layout as layout
    import small_scenarios as small
finally:
    del sys.path[:2]

CODEC = "zstd"


@pytest.fixture(autouse=True)
def _random_models_may_know_nothing(monkeypatch):
    monkeypatch.setattr(ScenarioRunner, "_check_headroom", lambda self, anchor, floor: None)


def classification(root):
    for seed in range(5):
        small.put(root / "raw" / ("val" if seed < 3 else "train") / "n01440764" / f"{seed}.JPEG", small.picture(seed))
    return small.classification(root / "weights"), {"test": root / "raw"}, "{}.zst"


def depth(root):
    for seed in range(5):
        small.scene(root / "raw" / ("test" if seed < 3 else "train"), f"room{seed}", seed, seed)
    return small.depth(root / "weights"), {"test": root / "raw"}, "{}-wflip.zst"


def segmentation(root):
    for number in range(5):
        small.masked(root / "raw", "validation" if number < 3 else "training", number, number)
    return small.segmentation(root / "weights"), {"test": root / "raw"}, "{}-stackedpatches.zst"


def language(root, id="clu-gsm8k"):
    small.calculations(root / "raw", "test")
    small.calculations(root / "own", "train")
    raw = {"test": root / "raw", "calibration": root / "own", "definitions": small.definitions(root / "definitions")}
    scenario = small.language(root / "weights", id)
    definition = raw["definitions"] / "fc_gsm8k" / "fc_gsm8k.yaml"
    definition.write_text(definition.read_text().replace("{until", "{max_gen_toks: 6, until"))
    options = {**scenario.backbone.options, "max_new_tokens": 6}
    backbone = scenario.backbone.model_copy(update={"options": options})
    return scenario.model_copy(update={"backbone": backbone}), raw, "sample{}-layer0-item1.zst"


def states(root):
    return language(root, "clu-gsm8k-mamba")


def speech(root):
    small.spoken_rows(root / "raw" / "advbench", range(3))
    small.librispeech(root / "dev", "dev-clean", range(10, 12))
    return small.speech("cau-advbench"), {"test": root / "raw", "calibration": root / "dev"}, "AdvBench-{}.zst"


def generation(root):
    from dataset_builders.full.generation import builders

    builders.control_image = lambda picture, side: picture[:side, :side]
    small.captioned(root / "raw", range(2))
    small.captioned(root / "other", range(10, 12))
    mini = SCENARIOS.get("mini-ctti-shapes")
    scenario = small.generation().model_copy(update={"metric_options": mini.metric_options})
    return scenario, {"test": root / "raw", "calibration": root / "other"}, "{}.zst"


def published(scenario, data, split, folder, name):
    """The samples of a split as published files, and their references as a file and as pictures."""
    rows = open_split(scenario, split, data)
    folder.mkdir(parents=True)
    references = {}
    for index in range(len(rows)):
        features, id = rows.features(index), rows.sample_id(index)
        tree = {}
        for spec in scenario.tensors:
            *path, last = next(iter(spellings(spec.name, scenario.splits[0] if scenario.splits else 0))).split(".")
            tree[".".join([*path, last])] = features[spec.name][None] if spec.role != "hidden" else features[spec.name]
        file = name.format(id)
        (folder / file).write_bytes(layout.saved(tree))
        stem = file.removesuffix(".zst")
        reference = rows.reference(index)
        if isinstance(reference, bytes):
            small.put(folder / f"{stem}.png", reference)
        else:
            references[id if "sample" in file else stem] = reference
    small.put(folder.with_suffix(".json"), json.dumps(references))
    return folder


def scores(make_runner, scenario, data, results):
    found = make_runner(scenario=scenario, data=data, results=results, verify_samples=0)
    run = found.run(make_codecs(CODEC, scenario.specs))
    return {point.result.codec.name: (point.result.score, point.result.rate.ebpfp) for point in run.points}, run


@pytest.mark.parametrize(
    "family", [classification, depth, segmentation, language, states, speech, generation], ids=lambda one: one.__name__
)
def test_it_scores_as_what_was_built(family, make_runner, tmp_path, monkeypatch):
    from dataset_builders.full.generation import builders

    monkeypatch.setattr(builders, "control_image", builders.control_image)  # what a family replaces is put back
    scenario, raw, name = family(tmp_path)
    builder_of(scenario)(RawData(**raw)).build(scenario, tmp_path / "built", progress=False)
    folders = {s: published(scenario, tmp_path / "built", s, tmp_path / s, name) for s in ("test", "calibration")}
    text = scenario.prediction == "text"
    references = {}
    if text:
        both = {
            **json.loads((tmp_path / "test.json").read_text()),
            **json.loads((tmp_path / "calibration.json").read_text()),
        }
        references = {"references": small.put(tmp_path / "all.json", json.dumps(both))}
    elif family is not classification:
        references = {"raw": tmp_path if family is generation else raw["test"]}
    import_published(scenario, folders["test"], tmp_path / "imported", calibration=folders["calibration"], **references)
    built, _ = scores(make_runner, scenario, tmp_path / "built", tmp_path / "one")
    imported, run = scores(make_runner, scenario, tmp_path / "imported", tmp_path / "other")
    assert imported == built
    assert imported["zstd"][0] == run.anchor.result.score


def test_without_calibration_samples_the_message_says_what_is_missing(make_runner, tmp_path):
    scenario, raw, name = classification(tmp_path)
    builder_of(scenario)(RawData(**raw)).build(scenario, tmp_path / "built", progress=False)
    source = published(scenario, tmp_path / "built", "test", tmp_path / "test", name)
    import_published(scenario, source, tmp_path / "imported")
    with pytest.raises(LaMoFCBenchError, match="calibration"):
        scores(make_runner, scenario, tmp_path / "imported", tmp_path / "results")
