"""What was imported is what is built here of the same samples, in every family, and runs to a score."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_builders.full.generation import builders
from dataset_builders.full.published.importing import import_published
from dataset_builders.full.published.naming import spellings
from dataset_builders.full.raw import RawData
from harness.commands.build import builder_of
from harness.running.runner import ScenarioRunner
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.rasters import decode_image, decode_map, decode_mask
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split
from lamofcbench.storage.layout import SPLITS

FULL_TESTS = Path(__file__).parents[2] / "dataset_builders" / "full"
sys.path[:0] = [str(FULL_TESTS), str(FULL_TESTS / "published")]
try:
    import published_layout as layout
    import small_scenarios as small
finally:
    del sys.path[:2]

CODEC = "zstd"
DECODERS = {"map": decode_map, "mask": decode_mask, "image": decode_image}


@pytest.fixture(autouse=True)
def _random_models_may_know_nothing(monkeypatch):
    monkeypatch.setattr(ScenarioRunner, "_check_headroom", lambda self, anchor, floor: None)


@pytest.fixture(autouse=True)
def _opencv_is_not_needed(monkeypatch):
    monkeypatch.setattr(builders, "control_image", lambda picture, side: picture[:side, :side])


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
            small.put(folder.with_name("images") / f"{stem}.png", reference)
        else:
            references[id if "sample" in file else stem] = reference
    small.put(folder.with_suffix(".json"), json.dumps(references))
    return folder


def assert_same_samples(scenario, split, built, imported, named):
    """Ids, side information, tensors and decoded references of a split are those that were built."""
    ours, theirs = (open_split(scenario, split, data) for data in (built, imported))
    decoded = DECODERS.get(scenario.prediction, lambda reference: reference)
    assert len(ours) == len(theirs) > 0
    for index in range(len(ours)):
        assert theirs.sample_id(index) == named.format(ours.sample_id(index))
        one, other = ours.features(index), theirs.features(index)
        assert one.side == other.side
        for mine, foreign in ((one.tensors, other.tensors), (one.given, other.given)):
            assert list(mine) == list(foreign)
            assert all(mine[name].dtype is foreign[name].dtype for name in mine)
            assert all(torch.equal(mine[name], foreign[name]) for name in mine)
        assert np.array_equal(decoded(ours.reference(index)), decoded(theirs.reference(index)))


def run(make_runner, scenario, data, results):
    runner = make_runner(scenario=scenario, data=data, results=results, verify_samples=0)
    return runner.run(make_codecs(CODEC, scenario.specs))


@pytest.mark.parametrize(
    ("family", "runs"),
    [
        (classification, True),
        (depth, True),
        (segmentation, True),
        (language, True),
        (states, False),  # texts are scored above
        (speech, False),
        (generation, True),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_it_holds_what_was_built_and_every_kind_of_prediction_is_scored(family, runs, make_runner, tmp_path):
    scenario, raw, name = family(tmp_path)
    built, imported = tmp_path / "built", tmp_path / "imported"
    builder_of(scenario)(RawData(**raw)).build(scenario, built, progress=False)
    folders = {split: published(scenario, built, split, tmp_path / split, name) for split in SPLITS}
    references = {}
    if scenario.prediction == "text":
        both = {id: one for split in SPLITS for id, one in json.loads((tmp_path / f"{split}.json").read_text()).items()}
        references = {"references": small.put(tmp_path / "all.json", json.dumps(both))}
    elif family is not classification:
        references = {"raw": tmp_path / "images" if family is generation else raw["test"]}
    import_published(scenario, folders["test"], imported, calibration=folders["calibration"], **references)
    for split in SPLITS:
        assert_same_samples(scenario, split, built, imported, "AdvBench-{}" if family is speech else "{}")
    if runs:
        found = run(make_runner, scenario, imported, tmp_path / "results")
        (point,) = found.points
        assert point.result.score == found.anchor.result.score and point.result.rate.ebpfp > 0


def test_without_calibration_samples_the_message_says_what_is_missing(make_runner, tmp_path):
    scenario = small.classification(tmp_path / "weights").model_copy(update={"test_samples": 1})
    tree = {"backbone.blocks.5": [layout.values(1, 21, small.WIDTH)]}
    small.put(tmp_path / "source" / "n01440764-a.zst", layout.saved(tree))
    import_published(scenario, tmp_path / "source", tmp_path / "imported")
    with pytest.raises(LaMoFCBenchError, match="calibration"):
        run(make_runner, scenario, tmp_path / "imported", tmp_path / "results")
