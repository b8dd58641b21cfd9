"""Full scenarios from raw data, on small random models: every family, resumed, shared out, calibration apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_builders.full import builder as full_builder
from dataset_builders.full import work_folder
from dataset_builders.full.generation import builders as generation
from dataset_builders.full.raw import RawData
from harness.commands.build import builder_of
from lamofcbench.errors import DataError, ScenarioError, WriteError
from lamofcbench.models.loading import load_model
from lamofcbench.processes import machine
from lamofcbench.rasters import decode_map, decode_mask
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split
from lamofcbench.storage.integrity import file_sha256
from lamofcbench.storage.layout import MANIFEST_FILE, read_manifest

sys.path.insert(0, str(Path(__file__).parent))
import small_scenarios as small


def built(scenario, output, **raw):
    """The builder, and the folder that it built."""
    made = builder_of(scenario)(RawData(**raw))
    return made, made.build(scenario, output, progress=False)


def hashes(scenario, data, split):
    rows = open_split(scenario, split, data)
    return {rows.content_sha256(index) for index in range(len(rows))}


def assert_apart(scenario, data):
    assert hashes(scenario, data, "test").isdisjoint(hashes(scenario, data, "calibration"))


def assert_as_the_front_gives_it(scenario, made, data):
    """The second test sample, stored, and from the model again."""
    model = load_model(scenario)
    sample = made.samples("test")[1]
    stored = open_split(scenario, "test", data).features(1)
    fresh = model.front(made.model_inputs(sample.inputs)).cast(scenario.specs)
    assert stored.side == fresh.side
    assert all(torch.equal(stored[name], fresh[name]) for name in stored)
    return model, stored


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A scenario on a small model, and its raw data: a folder a class."""
    folder = tmp_path_factory.mktemp("imagenet")
    names = ["n01443537/b.JPEG", "n01440764/a.JPEG", "n01440764/c.JPEG", "n02110185/z.JPEG"]
    for seed, name in enumerate(names):
        small.put(folder / "raw" / "val" / name, small.picture(seed))
    for seed, (wnid, number) in enumerate((("n01440764", 10), ("n01440764", 7), ("n02110185", 6)), 10):
        small.put(folder / "raw" / "train" / wnid / f"{wnid}_{number}.JPEG", small.picture(seed))
    return small.classification(folder / "weights"), folder / "raw"


def test_every_full_track_has_a_builder_and_variants_have_their_tracks():
    for scenario in SCENARIOS:
        if scenario.edition == "full":
            assert builder_of(scenario).name == (scenario.variant_of or scenario.id)


def test_classification_takes_the_first_by_name_with_the_classes_of_their_folders(imagenet, tmp_path):
    scenario, raw = imagenet
    made, folder = built(scenario, tmp_path, test=raw)
    split = open_split(scenario, "test", tmp_path)
    assert folder == tmp_path / "cvu-imagenet-val"
    assert [split.sample_id(i) for i in range(3)] == ["n01440764-a", "n01443537-b", "n01440764-c"]
    assert [split.reference(i) for i in range(3)] == [0, 1, 0]
    calibration = open_split(scenario, "calibration", tmp_path)  # of several classes, though names begin with them
    assert [calibration.sample_id(i) for i in range(2)] == ["n01440764-n01440764_10", "n02110185-n02110185_6"]
    assert_apart(scenario, tmp_path)
    model, stored = assert_as_the_front_gives_it(scenario, made, tmp_path)
    assert model.tail([stored]) == [model.full(made.model_inputs(made.samples("test")[1].inputs))]


def test_a_list_names_samples_and_their_order(imagenet, tmp_path):
    scenario, raw = imagenet
    listed = small.put(tmp_path / "list.json", json.dumps(["n02110185-z", "val/n01440764/a.JPEG", "n01443537-b"]))
    built(scenario, tmp_path / "data", test=raw, samples=listed)
    split = open_split(scenario, "test", tmp_path / "data")
    assert [split.sample_id(i) for i in range(3)] == ["n02110185-z", "n01440764-a", "n01443537-b"]
    listed.write_text(json.dumps(["n02110185-z", "n02110185-z", "n01443537-b"]))
    with pytest.raises(DataError, match="names 2 different test pictures of 3; 3 are needed"):
        built(scenario, tmp_path / "data", test=raw, samples=listed)
    listed.write_text(json.dumps(["n02110185-none"]))
    with pytest.raises(DataError, match=r"n02110185-none.*none of the 4 test pictures"):
        built(scenario, tmp_path / "data", test=raw, samples=listed)


def test_parquet_files_of_the_hub_give_what_folders_give(imagenet, tmp_path):
    scenario, raw = imagenet
    classes = {"n01440764": 0, "n01443537": 1}
    for split, name in (("val", "validation"), ("train", "train")):
        rows = [
            {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": classes.get(path.parent.name, 9)}
            for path in sorted((raw / split).rglob("*.JPEG"))
            if path.parent.name in classes
        ]
        small.table(tmp_path / "raw" / "data" / f"{name}-00000-of-00001.parquet", rows)
    built(scenario, tmp_path / "tables", test=tmp_path / "raw")
    built(scenario, tmp_path / "folders", test=raw)
    one, other = (open_split(scenario, "test", tmp_path / kind) for kind in ("tables", "folders"))
    assert [one.sample_id(i) for i in range(3)] == [other.sample_id(i) for i in range(3)]
    assert all(torch.equal(one.features(i)["block.5"], other.features(i)["block.5"]) for i in range(3))


def test_the_same_picture_in_both_splits_is_refused_before_the_model_is_loaded(imagenet, tmp_path, monkeypatch):
    scenario, raw = imagenet
    monkeypatch.setattr(full_builder, "load_model", None)
    for number, name in enumerate(("x", "y")):
        small.put(tmp_path / "train" / f"{name}.JPEG", small.picture(1 if name == "x" else 100 + number))
    with pytest.raises(DataError, match="sample 'x' of calibration is also in test, as 'n01440764-a'"):
        built(scenario, tmp_path / "data", test=raw, calibration=tmp_path / "train")
    with pytest.raises(DataError, match=r"holds no files of the calibration split.*--calibration"):
        built(scenario, tmp_path / "data", test=raw / "val")
    with pytest.raises(DataError, match="there are 4 test pictures; 100 are needed"):
        built(scenario.model_copy(update={"test_samples": 100}), tmp_path / "data", test=raw)


class Member:
    """One of two processes; the leader lets the other do its share before its own."""

    size = 2

    def __init__(self, rank, other=lambda: None):
        self.rank, self.other = rank, other

    def from_leader(self, work):
        return work() if self.rank == 0 else None

    def together(self, work):
        self.other()
        return work()


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_processes_write_the_files_of_one(imagenet, tmp_path):
    scenario, raw = imagenet
    _, alone = built(scenario, tmp_path / "one", test=raw)
    made = []

    def build(team):
        builder_of(scenario)(RawData(test=raw)).build(scenario, tmp_path / "two", progress=False, team=team)

    def other():
        build(Member(1))
        made.extend(path.name for path in (tmp_path / "two").rglob("*.safetensors"))

    build(Member(0, other))
    assert sorted(made) == ["calibration-000000.safetensors", "test-000001.safetensors"]
    assert files_of(tmp_path / "two" / scenario.id) == files_of(alone)


def test_a_build_that_was_stopped_goes_on_with_what_is_missing(imagenet, tmp_path, monkeypatch):
    scenario, raw = imagenet
    _, whole = built(scenario, tmp_path / "whole", test=raw)
    computed = []

    def counted(model, sample, scenario, stored=full_builder.stored_features):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(sample.id)
        return stored(model, sample, scenario)

    monkeypatch.setattr(full_builder, "stored_features", counted)
    with pytest.raises(KeyboardInterrupt):
        built(scenario, tmp_path / "data", test=raw)
    computed.append("stopped")
    shard = next((tmp_path / "data" / ".cvu-imagenet-val.extracting").glob("test-000001.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-4])  # the disk had not got all of it
    _, folder = built(scenario, tmp_path / "data", test=raw)
    assert len(computed) == 3 + scenario.test_samples + scenario.calibration_samples - 1
    assert files_of(folder) == files_of(whole)
    assert [path.name for path in (tmp_path / "data").glob(".cvu*")] == []


def test_a_finished_scenario_is_made_again_only_if_something_else_would_come_out(imagenet, tmp_path, monkeypatch):
    scenario, raw = imagenet
    made, folder = built(scenario, tmp_path, test=raw)
    assert read_manifest(folder / MANIFEST_FILE).data_revision == made.revision()
    whole, loaded = files_of(folder), []

    def counted(scenario, load=full_builder.load_model, **options):
        loaded.append(scenario.test_samples)
        return load(scenario, **options)

    monkeypatch.setattr(full_builder, "load_model", counted)
    built(scenario, tmp_path, test=raw)
    assert loaded == []
    next(folder.glob("test-*.safetensors")).write_bytes(b"cut short")
    built(scenario, tmp_path, test=raw)
    assert loaded == [3] and files_of(folder) == whole
    listed = small.put(tmp_path / "list.json", json.dumps(["n02110185-z", "n01440764-a", "n01443537-b"]))
    built(scenario, tmp_path, test=raw, samples=listed)
    assert loaded == [3, 3] and read_manifest(folder / MANIFEST_FILE).data_revision != made.revision()


def test_a_dataset_that_cannot_be_put_in_place_costs_no_sample(imagenet, tmp_path, monkeypatch):
    scenario, raw = imagenet
    with monkeypatch.context() as patch:
        patch.setattr(work_folder, "put_in_place", lambda *args: (_ for _ in ()).throw(OSError(28, "disk full")))
        with pytest.raises(WriteError, match="make room"):
            built(scenario, tmp_path, test=raw)
    killed = tmp_path / f".{scenario.id}.building-{machine()}-999999999-0123abcd"
    killed.mkdir()
    monkeypatch.setattr(full_builder, "load_model", None)
    built(scenario, tmp_path, test=raw)
    assert len(open_split(scenario, "test", tmp_path)) == 3 and not killed.exists()


def test_a_reference_that_the_disk_has_not_got_is_made_anew(tmp_path):
    work, slot = work_folder.WorkFolder(tmp_path), work_folder.Slot("test", 0)
    work.shard(slot).write_bytes(b"shard")
    kept = work.keep(slot, {"state": "s", "sha256": file_sha256(work.shard(slot))}, b"a whole mask")
    assert work.finished(slot, "s") == kept and work.reference(kept) == b"a whole mask"
    (tmp_path / kept["reference_file"]).write_bytes(b"a whole")
    assert work.finished(slot, "s") is None


def test_depth_takes_a_picture_of_each_scene_in_turn_and_its_map_in_metres(tmp_path):
    scenario = small.depth(tmp_path / "weights")
    for seed, (name, number) in enumerate((("bath", 1), ("bath", 2), ("kitchen", 7), ("office", 3))):
        small.scene(tmp_path / "raw" / "test", name, number, seed)
    for seed in (10, 11):
        small.scene(tmp_path / "raw" / "train", "den", seed, seed)
    made, _ = built(scenario, tmp_path / "data", test=tmp_path / "raw")
    split = open_split(scenario, "test", tmp_path / "data")
    assert [split.sample_id(i) for i in range(3)] == ["bath-rgb_00001", "kitchen-rgb_00007", "office-rgb_00003"]
    depth = decode_map(split.reference(1))
    assert depth.shape == (48, 64) and 0.5 <= depth.min() <= depth.max() <= 9
    assert split.features(1)["block.5"].shape == (2, 5 + 6 * 8, 32)
    assert_apart(scenario, tmp_path / "data")
    assert_as_the_front_gives_it(scenario, made, tmp_path / "data")


def test_segmentation_stores_the_picture_for_the_tail_and_the_mask_as_it_is(tmp_path):
    scenario = small.segmentation(tmp_path / "weights")
    for number in range(3):
        small.masked(tmp_path / "raw", "validation", number, number)
    for number in (10, 11):
        small.masked(tmp_path / "raw", "training", number, number)
    made, _ = built(scenario, tmp_path / "data", test=tmp_path / "raw")
    split = open_split(scenario, "test", tmp_path / "data")
    features = split.features(1)
    assert features.given["image"].shape == (64, 94, 3) and features["block.5"].shape == (2, 21, 32)
    assert decode_mask(split.reference(1)).max() == 5
    assert_apart(scenario, tmp_path / "data")
    model, stored = assert_as_the_front_gives_it(scenario, made, tmp_path / "data")
    expected = model.full(made.model_inputs(made.samples("test")[1].inputs))
    assert np.array_equal(model.tail([stored])[0], expected)


@pytest.mark.parametrize("id", ["clu-gsm8k", "clu-arc-challenge-mamba"])
def test_language_takes_the_longest_prompts_and_calibrates_on_arc_training_questions(tmp_path, id):
    scenario = small.language(tmp_path / "weights", id)
    raw = {"test": tmp_path / "raw", "definitions": small.definitions(tmp_path / "definitions")}
    small.choices(raw["test"], "train")
    (small.calculations if "gsm8k" in id else small.choices)(raw["test"], "test")
    made, _ = built(scenario, tmp_path / "data", **raw)
    split, calibration = (open_split(scenario, name, tmp_path / "data") for name in ("test", "calibration"))
    assert [split.sample_id(i) for i in range(3)] == ["0", "1", "2"]
    tokens = [len(split.features(i)["hidden"]) for i in range(3)]
    assert tokens == sorted(tokens, reverse=True)
    assert split.reference(0) == ("#### 5" if "gsm8k" in id else "B") and calibration.reference(0) == "B"
    assert_apart(scenario, tmp_path / "data")
    assert_as_the_front_gives_it(scenario, made, tmp_path / "data")


def test_calibration_documents_of_the_task_itself_may_be_named_by_their_very_folder(tmp_path):
    made = builder_of(SCENARIOS.get("clu-gsm8k"))(
        RawData(tmp_path / "raw", tmp_path / "main", definitions=small.definitions(tmp_path / "definitions"))
    )
    made.counts["calibration"] = 1
    small.calculations(tmp_path, "train")
    assert [sample.reference for sample in made.samples("calibration")] == ["#### 5"]


def test_documents_that_fit_neither_arc_nor_the_task_are_told_and_damaged_ones_not_passed_over(tmp_path):
    made = builder_of(SCENARIOS.get("clu-gsm8k"))(RawData(calibration=tmp_path))
    small.table(tmp_path / "train.parquet", [{"text": "of something else"}])
    with pytest.raises(DataError, match=r"document 0 is none of fc_arc_challenge's \(KeyError: 'question'\)"):
        made.samples("calibration")
    small.calculations(tmp_path, "train")
    small.put(tmp_path / "ARC-Challenge" / "train.parquet", "cut short")
    with pytest.raises(DataError, match=r"cannot read .*ARC-Challenge/train\.parquet"):
        made.samples("calibration")


def test_language_samples_are_places_of_the_published_list_and_the_definition_has_to_fit(tmp_path):
    scenario = small.language(tmp_path / "weights")
    definitions = small.definitions(tmp_path / "definitions")
    small.calculations(tmp_path / "raw", "test")
    small.calculations(tmp_path / "own", "train")
    listed = small.put(tmp_path / "qwen3.json", json.dumps({"fc_gsm8k": [4, 0, 2]}))
    raw = {"test": tmp_path / "raw", "calibration": tmp_path / "own", "definitions": definitions, "samples": listed}
    built(scenario, tmp_path / "data", **raw)
    split, calibration = (open_split(scenario, name, tmp_path / "data") for name in ("test", "calibration"))
    assert [split.sample_id(i) for i in range(3)] == ["4", "0", "2"]
    assert calibration.reference(0) == "#### 5"  # without ARC's, the training split of the task itself
    path = definitions / "fc_gsm8k" / "fc_gsm8k.yaml"
    path.write_text(path.read_text().replace('Question:", "</s>', 'Frage:", "</s>'))
    with pytest.raises(ScenarioError, match="clu-gsm8k has stop_strings"):
        built(scenario, tmp_path / "other", **raw)


def test_spoken_tasks_read_both_layouts_and_leave_out_audio_that_is_too_short(tmp_path):
    for part, seeds in (("test-clean", range(4)), ("dev-clean", range(10, 13))):
        small.librispeech(tmp_path / "raw", part, seeds)
    small.put(tmp_path / "raw/test-clean/84/121/84-121-0000.flac", small.sound(0, seconds=0.05))
    scenario = small.speech("cau-librispeech-clean")
    made, _ = built(scenario, tmp_path / "data", test=tmp_path / "raw", calibration=tmp_path / "raw")
    split = open_split(scenario, "test", tmp_path / "data")
    assert [split.sample_id(i) for i in range(3)] == [f"84-121-000{n}" for n in (1, 2, 3)]
    assert split.reference(0) == "WORDS 1"
    assert_apart(scenario, tmp_path / "data")
    assert_as_the_front_gives_it(scenario, made, tmp_path / "data")

    scenario = small.speech("cau-openbookqa")
    small.spoken_rows(tmp_path / "voicebench" / "openbookqa", range(20, 23))
    built(scenario, tmp_path / "data", test=tmp_path / "voicebench", calibration=tmp_path / "raw")
    split, calibration = (open_split(scenario, name, tmp_path / "data") for name in ("test", "calibration"))
    assert (split.sample_id(0), split.reference(0), calibration.reference(0)) == ("0", "A", "WORDS 10")


@pytest.mark.parametrize(
    ("id", "files", "own"),
    [
        ("cau-sdqa", ("sd-qa/aus-0.parquet", "sd-qa/usa-0.parquet", "advbench/test-0.parquet"), "sd-qa/usa-0.parquet"),
        ("cau-librispeech-other", ("clean/test/0.parquet", "other/test/0.parquet"), "other/test/0.parquet"),
        ("cau-librispeech-clean", ("clean/test/0.parquet", "other/test/0.parquet"), "clean/test/0.parquet"),
    ],
)
def test_a_whole_clone_gives_a_spoken_task_its_own_part(tmp_path, id, files, own):
    for seed, name in enumerate(files):
        row = {"audio": {"bytes": small.sound(seed, 0.2), "path": None}, "reference": name}
        small.table(tmp_path / name, [row])
    made = builder_of(SCENARIOS.get(id))(RawData(test=tmp_path))
    made.counts["test"] = 1
    assert [sample.reference for sample in made.samples("test")] == [own]


def test_the_authors_selection_of_audio_goes_before_what_else_the_folder_holds(tmp_path):
    small.librispeech(tmp_path / "dev", "dev-clean", range(10, 13))
    entries = [
        {"index": index, "subset": "usa", "answer": f"answer {index}", "new_audio_path": f"audio/sd-qa/{index}.wav"}
        for index in (9, 4, 7)
    ]
    small.put(tmp_path / "audio" / "data.json", json.dumps({"SD-QA": entries, "AdvBench": []}))
    for index in (9, 4, 7):
        small.put(tmp_path / "audio" / "sd-qa" / f"{index}.wav", small.sound(index, rate=8000, kind="WAV"))
    scenario = small.speech("cau-sdqa")
    built(scenario, tmp_path / "data", test=tmp_path / "audio", calibration=tmp_path / "dev")
    split = open_split(scenario, "test", tmp_path / "data")
    assert [split.sample_id(i) for i in range(3)] == [f"SD-QA-usa-{n}" for n in (9, 4, 7)]
    assert split.reference(1) == "answer 4"


def test_generation_makes_its_references_of_uncoded_features(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "control_image", lambda picture, side: picture[:side, :side])
    scenario = small.generation()
    small.captioned(tmp_path / "raw", range(3))
    small.captioned(tmp_path / "other", range(10, 12))
    made, _ = built(scenario, tmp_path / "data", test=tmp_path / "raw", calibration=tmp_path / "other")
    split = open_split(scenario, "test", tmp_path / "data")
    assert [split.sample_id(i) for i in range(2)] == ["000000000000", "000000000001"]
    model, stored = assert_as_the_front_gives_it(scenario, made, tmp_path / "data")
    assert stored.side == {"seed": 42}
    from lamofcbench.rasters import decode_image

    assert np.array_equal(model.tail([stored])[0], decode_image(split.reference(1)))
    assert_apart(scenario, tmp_path / "data")


def test_captions_are_also_read_as_coco_has_them(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "000000000007.jpg"}],
        "annotations": [
            {"id": 2, "image_id": 7, "caption": "second"},
            {"id": 1, "image_id": 7, "caption": "first"},
        ],
    }
    small.put(tmp_path / "annotations" / "captions_val2017.json", json.dumps(content))
    small.put(tmp_path / "annotations" / "captions_train2017.json", json.dumps({"000000000009.jpg": "other"}))
    assert generation.captions(tmp_path, "test") == {"000000000007": "first"}
    assert generation.captions(tmp_path, "calibration") == {"000000000009": "other"}


def test_control_images_show_the_edges_of_a_rectangle_where_they_come_to_lie():
    pytest.importorskip("cv2")
    picture = np.zeros((30, 50, 3), np.uint8)
    picture[8:22, 16:36] = 200  # doubled rows 16 to 43 and columns 32 to 71, of which the middle square starts at 20
    edges = generation.control_image(picture, 60)
    assert edges.shape == (60, 60, 3) and set(np.unique(edges)) == {0, 255}
    assert (edges == edges[..., :1]).all()
    rows, columns = np.nonzero(edges[..., 0])
    outline = np.zeros((60, 60), bool)
    outline[16:44, 12:52], outline[18:42, 14:50] = True, False
    grown = np.zeros((60, 60), bool)
    grown[14:46, 10:54], grown[18:42, 14:50] = True, False
    assert grown[rows, columns].all()  # nowhere but at the outline, within two pixels,
    assert {*range(18, 42)} <= {*rows} and {*range(14, 50)} <= {*columns}  # and all along it
