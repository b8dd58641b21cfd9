"""Published files of every family become datasets; hostile ones become one clear line."""

import io
import json
import os
import pickle
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard
from PIL import Image

import lamofcbench
from dataset_builders.full.language.tasks import task_of
from dataset_builders.full.published import importing
from dataset_builders.full.published.importing import import_published
from dataset_builders.full.published.references import language_reference
from lamofcbench.errors import DataError
from lamofcbench.rasters import decode_map, decode_mask
from lamofcbench.storage import open_split

sys.path.insert(0, str(Path(__file__).parent))
import published_layout as layout


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()

    def write(files):
        for name, content in files.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else layout.saved(content))
        return folder

    return write


def same(stored, tensor):
    return stored.dtype is tensor.dtype and torch.equal(stored, tensor.reshape(stored.shape))


# ------------------------------------------------------------------------------------------------------- families


@pytest.mark.parametrize(
    "prefix", ["backbone.blocks", "encoder.backbone.blocks", "segmentation_model.0.backbone.blocks", "layer"]
)
def test_classification_in_every_spelling_with_the_class_of_the_files_name(source, tmp_path, prefix):
    tree = layout.classified(prefix=prefix)
    folder = source({"n01443537-ILSVRC2012_val_00000236.zst": tree})
    for id, block in (("cvu-imagenet-val", 39), ("cvu-imagenet-val-shallow", 9)):
        scenario = layout.tiny(id)
        import_published(scenario, folder, tmp_path / "out")
        split = open_split(scenario, "test", tmp_path / "out")
        assert (split.sample_id(0), split.reference(0)) == ("n01443537-ILSVRC2012_val_00000236", 1)
        assert same(split.features(0)[f"block.{block}"], tree[f"{prefix}.{block}"][0])


def test_depth_with_references_of_the_raw_data(source, tmp_path):
    tree = layout.depth()
    raw = tmp_path / "raw" / "vision" / "bathroom_0001"
    raw.mkdir(parents=True)
    millimetres = np.arange(12, dtype=np.uint16).reshape(3, 4) * 500
    Image.fromarray(millimetres).save(raw / "sync_depth_00045.png")
    scenario = layout.tiny("cvu-nyuv2")
    import_published(
        scenario, source({"bathroom_0001-rgb_00045-wflip.zst": tree}), tmp_path / "out", raw=tmp_path / "raw"
    )
    split = open_split(scenario, "test", tmp_path / "out")
    features = split.features(0)
    assert split.sample_id(0) == "bathroom_0001-rgb_00045" and features.side == {"height": 3, "width": 4}
    assert np.allclose(decode_map(split.reference(0)), millimetres / 1000, rtol=1e-3)
    assert all(same(features[f"block.{b}"], tree[f"encoder.backbone.blocks.{b}"]) for b in (9, 19, 29, 39))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_segmentation_with_its_image_and_shorter_floats_widened(source, tmp_path, dtype):
    tree = layout.segmented(dtype=dtype)
    raw = tmp_path / "raw"
    for folder in ("images/validation", "annotations/validation"):
        (raw / folder).mkdir(parents=True)
    mask = np.arange(20, dtype=np.uint8).reshape(4, 5)
    Image.fromarray(mask).save(raw / "annotations/validation/ADE_val_00000001.png")
    Image.fromarray(np.full((4, 5, 3), 200, np.uint8)).save(raw / "images/validation/ADE_val_00000001.jpg")
    scenario = layout.tiny("cvu-ade20k")
    folder = source({"ADE_val_00000001-stackedpatches.zst": tree})
    imported = import_published(scenario, folder, tmp_path / "out", raw=raw)
    assert imported.widened == ("" if dtype is torch.float32 else "bfloat16")
    split = open_split(scenario, "test", tmp_path / "out")
    features = split.features(0)
    assert features.given["image"].shape == (4, 5, 3) and features.given["image"].float().mean() > 190
    assert (decode_mask(split.reference(0)) == mask).all() and features.side == {"height": 4, "width": 5}
    assert same(features["block.19"], tree["segmentation_model.0.backbone.blocks.19"].float())


def test_decoders_with_caches_that_are_views_in_the_order_of_sample_numbers(source, tmp_path):
    trees = {number: layout.qwen3(tokens=number) for number in (2, 10)}
    folder = source({f"sample{number}-layer4-item1.zst": tree for number, tree in trees.items()})
    documents = tmp_path / "raw" / "main"
    documents.mkdir(parents=True)
    lines = [json.dumps({"question": "q" * length, "answer": f"#### {length}"}) for length in range(1, 12)]
    (documents / "test-00000-of-00001.jsonl").write_text("\n".join(lines))
    scenario = layout.tiny("clu-gsm8k")
    import_published(scenario, folder, tmp_path / "out", raw=tmp_path / "raw")
    split = open_split(scenario, "test", tmp_path / "out")
    assert [split.sample_id(i) for i in range(2)] == ["2", "10"]
    assert [split.reference(i) for i in range(2)] == ["#### 9", "#### 1"]  # places by length, the longest is 0
    for index, tree in enumerate(trees.values()):
        features = split.features(index)
        assert same(features["hidden"], tree["output"])
        assert all(same(features[f"{n}.{i}"], tree[n][i]) for n in ("key", "value") for i in range(5))


def test_states_and_flat_spellings_of_features_after_coding(source, tmp_path):
    tree = layout.falcon_mamba()
    flat = {"layer.4.output": tree["output"]}
    flat.update({f"layer.{i}.{name}": tree[name][i] for name in ("ssm_state", "conv_state") for i in range(5)})
    facts = {"arch": "hyperprior", "handler": "falconmamba", "strategy": "individual", "transform_type": "nonlinear"}
    facts |= {"bit_depth": 8, "bpfp": 0.5, "ebpfp": np.float64(0.75), "mse": 0.1}
    of_tensor = {"ori_numel": 40, "ori_bytes": 4, "enc_bytes": 5, "quant_mse": 0.1, "final_mse": 0.2}
    others = {"ori_shape": torch.Size([1, 5, 8]), "ori_dtype": torch.float32, "ori_device": torch.device("cuda", 0)}
    metadata = {**facts, "input_file": "x.zst", "layer.4.output": {**of_tensor, **others}}
    metadata["layer.0.ssm_state"] = {"enc_strings": [[b"\x00\xffab"], [b"c"]], "enc_latent_shape": [(1, 2)]}
    scenario = layout.tiny("clu-truthfulqa-mc1-mamba")
    for name, content in (("bare", tree), ("coded", {"metadata": metadata, "features": flat})):
        folder = source({"sample3-layer4-item1.zst": content})
        imported = import_published(scenario, folder, tmp_path / name)
        split = open_split(scenario, "test", tmp_path / name)
        assert split.reference(0) == "A"
        assert all(same(split.features(0)[f"ssm_state.{i}"], tree["ssm_state"][i]) for i in range(5))
        assert (imported.coded is None) == (name == "bare")
    told = json.loads(imported.coded.read_text())
    assert {name: told[name] for name in facts} == facts and told["sample_id"] == "3"
    assert told["tensors"]["layer.4.output"] == of_tensor and told["payload_bytes"] == 5 + 5


@pytest.mark.parametrize("wrapped", [False, True])
def test_audio_with_answers_of_a_file(source, tmp_path, wrapped):
    tree = layout.kimi()
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"LibriSpeech-test_clean-17": "he hoped there would be stew"}))
    folder = source({"LibriSpeech-test_clean-17.zst": {"features": tree, "metadata": {}} if wrapped else tree})
    scenario = layout.tiny("cau-librispeech-clean")
    import_published(scenario, folder, tmp_path / "out", references=answers)
    split = open_split(scenario, "test", tmp_path / "out")
    features = split.features(0)
    assert split.reference(0) == "he hoped there would be stew"
    assert same(features["key.0"], tree["model.layers.0"][0]) and same(features["value.3"], tree["model.layers.3"][1])
    assert same(features["key.4"], tree["model.layers.4"][1][0]) and same(features["hidden"], tree["model.layers.4"][0])


def test_audio_with_answers_of_the_published_list(source, tmp_path):
    entries = [
        {"index": index, "subset": subset, "answer": f"{subset} {index}", "new_audio_path": "x.wav"}
        for subset in ("test_clean", "test_other")
        for index in (0, 7)
    ]
    (tmp_path / "raw" / "audio").mkdir(parents=True)
    (tmp_path / "raw" / "audio" / "data.json").write_text(json.dumps({"LibriSpeech": entries, "SD-QA": [3]}))
    folder = source({f"LibriSpeech-test_other-{index}.zst": layout.kimi() for index in (0, 7)})
    scenario = layout.tiny("cau-librispeech-other")
    import_published(scenario, folder, tmp_path / "out", raw=tmp_path / "raw")
    split = open_split(scenario, "test", tmp_path / "out")
    assert [split.reference(i) for i in range(2)] == ["test_other 0", "test_other 7"]


@pytest.mark.parametrize("control", ["vae.encoder", "vae.encoder-item6", "vae.encoder-item9"])
def test_diffusion_at_both_splits(source, tmp_path, control):
    tree = layout.diffusion(control)
    raw = tmp_path / "raw"
    raw.mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(raw / "000000000139.png")
    folder = source({"000000000139.zst": tree})
    for id in ("ctti-coco-canny", "ctti-coco-canny-latent"):
        scenario = layout.tiny(id)
        scenario = scenario.model_copy(
            update={
                "tensors": tuple(
                    spec.model_copy(update={"shape": (spec.shape[0], 4, 4)}) if spec.role == "latent" else spec
                    for spec in scenario.tensors
                )
            }
        )
        import_published(scenario, folder, tmp_path / "out", raw=raw)
        features = open_split(scenario, "test", tmp_path / "out").features(0)
        if id.endswith("latent"):
            assert same(features["latent"], tree["vae.decoder"]) and not features.side
        else:
            assert features.side == {"seed": 42}
            assert same(features["clip_g.hidden.negative"], tree["text_encoder_2-item4"]["clip_prompt_embeds"])
            assert same(features["t5.hidden.positive"], tree["text_encoder_3-item2"]["t5_prompt_embeds"])
            assert same(features["vae_encoder.1"], tree[control]["vae.encoder_f1"])


def test_load_dataset_reads_what_was_imported(source, tmp_path):
    scenario = layout.tiny("cvu-imagenet-val")
    tree = layout.classified()
    folder = source({"n01440764-a.zst": tree, "n01443537-b.zst": layout.classified(9)})
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    (calibration / "n01440764-c.zst").write_bytes(layout.saved(layout.classified(8)))
    imported = import_published(scenario, folder, tmp_path / "out", calibration=calibration)
    assert imported.samples == {"test": 2, "calibration": 1}
    rows = lamofcbench.load_dataset(scenario, split="test", data_dir=tmp_path / "out", cache_dir=tmp_path / "cache")
    assert rows["reference"] == [0, 1] and same(rows[0]["block.39"], tree["backbone.blocks.39"][0])


def test_features_that_are_in_both_splits_are_refused(source, tmp_path):
    scenario = layout.tiny("cvu-imagenet-val")
    folder = source({"n01440764-a.zst": layout.classified(), "n01443537-b.zst": layout.classified(9)})
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    shutil.copy(folder / "n01440764-a.zst", renamed / "n01440764-z.zst")
    for calibration in (folder, renamed):
        with pytest.raises(DataError, match="hold the same features, in calibration and test; splits must be disjoint"):
            import_published(scenario, folder, tmp_path / "out", calibration=calibration)
    assert not (tmp_path / "out" / scenario.id).exists()


# ------------------------------------------------------------------------------------------- order, processes, resuming


def test_the_same_dataset_for_any_number_of_processes_and_with_or_without_declared_sizes(source, tmp_path):
    scenario = layout.tiny("cvu-imagenet-val")
    trees = {f"n01440764-{i}.zst": layout.classified(5 + i) for i in range(4)}
    folder = source(trees)
    for processes in (1, 2):
        import_published(scenario, folder, tmp_path / str(processes), processes=processes)
    source({name: layout.saved(tree, declared=False, level=9) for name, tree in trees.items()})
    import_published(scenario, folder, tmp_path / "undeclared")
    contents = [
        {path.name: path.read_bytes() for path in sorted((tmp_path / out / scenario.id).iterdir())}
        for out in ("1", "2", "undeclared")
    ]
    assert contents[0] == contents[1] == contents[2] and len(contents[0]) == 6


def test_an_import_goes_on_where_one_ended(source, tmp_path, monkeypatch):
    scenario = layout.tiny("cvu-imagenet-val")
    folder = source({"n01440764-0.zst": layout.classified(), "n01440764-1.zst": b"damaged"})
    with pytest.raises(DataError, match=r"n01440764-1\.zst"):
        import_published(scenario, folder, tmp_path / "out")
    assert not (tmp_path / "out" / scenario.id).exists()
    source({"n01440764-1.zst": layout.classified()})
    assert import_published(scenario, folder, tmp_path / "out").taken_over == 1
    assert len(open_split(scenario, "test", tmp_path / "out")) == 2
    assert not list((tmp_path / "out").glob(".cvu*"))
    monkeypatch.setattr(importing, "VERSION", 2)
    assert import_published(scenario, folder, tmp_path / "out").taken_over == 0


def test_a_sample_whose_reference_was_corrected_meanwhile_is_imported_anew(source, tmp_path):
    def write_answers(more):
        lines = [json.dumps({"question": "q" * n, "answer": f"#### {n + more}"}) for n in range(1, 12)]
        (documents / "test-00000-of-00001.jsonl").write_text("\n".join(lines))

    scenario = layout.tiny("clu-gsm8k")
    folder = source({"sample2-layer4-item1.zst": layout.qwen3(), "sample10-layer4-item1.zst": b"damaged"})
    documents = tmp_path / "raw" / "main"
    documents.mkdir(parents=True)
    write_answers(0)
    with pytest.raises(DataError, match=r"sample10-layer4-item1\.zst"):
        import_published(scenario, folder, tmp_path / "out", raw=tmp_path / "raw")
    source({"sample10-layer4-item1.zst": layout.qwen3(tokens=9)})
    write_answers(1000)
    assert import_published(scenario, folder, tmp_path / "out", raw=tmp_path / "raw").taken_over == 0
    split = open_split(scenario, "test", tmp_path / "out")
    assert all(int(split.reference(at).removeprefix("#### ")) > 1000 for at in range(2))


def test_folders_are_found_in_a_whole_download(tmp_path):
    names = {
        "clu-gsm8k": "qwen/qwen3-8b/fc_gsm8k",
        "clu-gsm8k-mamba": "tiiuae/falcon-mamba-7b-instruct/fc_gsm8k",
        "clu-winogrande": "qwen/qwen3-8b/fc_winogrande",
        "cau-sdqa": "KimiAudio-7B-Instruct-500features-L5wCache/sd-qa",
        "cau-librispeech-other": "KimiAudio-7B-Instruct-500features-L5wCache/librispeech-test-other",
        "cvu-nyuv2": "DINOv3Dep-NYUDv2Test-4lvl-100Features",
        "cvu-ade20k": "DINOv3Seg-ADE20KVal-4lvl-100Features",
        "ctti-coco-canny-latent": "sd3.5-l-controlnet-canny-cond-tti/100samples_features",
        "cvu-imagenet-a": "imagenet1k-a",
        "cvu-imagenet-val-shallow": "imagenet1k-val",
    }
    from dataset_builders.full.published.sources import published_files

    for folder in names.values():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.zst").touch()
    for id, folder in names.items():
        assert published_files(layout.tiny(id), tmp_path) == [tmp_path / folder / "x.zst"]
    with pytest.raises(DataError, match="no folder for cvu-imagenet-r"):
        published_files(layout.tiny("cvu-imagenet-r"), tmp_path)


# ----------------------------------------------------------------------------------------------------------- hostile

RAN = "ran-code"


class Hostile:
    def __reduce__(self):
        return os.mkdir, (RAN,)


def zipped(pickled, **records):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in records.items():
            archive.writestr(f"archive/{name}", content)
    return zstandard.compress(buffer.getvalue())


def compressed_zeros(count, declared):
    out = io.BytesIO()
    size = {"size": count} if declared else {}
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False, **size) as writer:
        writer.write(b"PK\x03\x04" + bytes(26))
        for start in range(30, count, 2**24):
            writer.write(bytes(min(2**24, count - start)))
    return out.getvalue()


def nested_lists():
    """Lists that refer to one list many times, level upon level: 10 ** 20 entries."""
    node = [0] * 10
    for _ in range(20):
        node = [node] * 10
    return {"features": node}


def followed_by_zeros(count):
    """A whole archive, and then a bomb, of undeclared size."""
    archive = zstandard.ZstdDecompressor().decompress(layout.saved(layout.depth()))
    out = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
        writer.write(archive)
        for _ in range(count // 2**24):
            writer.write(bytes(2**24))
    return out.getvalue()


GOOD = layout.saved(layout.depth())
HOSTILE = {
    "a pickle that runs code": (zipped(pickle.dumps({"a": Hostile()}, 2)), r"names 'posix\.mkdir'|names 'nt\.mkdir'"),
    "newer opcodes": (zipped(pickle.dumps({"a": Hostile()}, 4)), r"names 'posix\.mkdir'|names 'nt\.mkdir'"),
    "a set": (zipped(pickle.dumps({"a": {1}}, 4)), "EMPTY_SET"),
    "a class": (zipped(pickle.dumps(Path, 2)), "names 'pathlib"),
    "no mark": (zipped(b"\x80\x02t."), "damaged pickle"),
    "a huge text": (zipped(b"\x80\x02X\xff\xff\xff\x7fa."), "damaged|ends"),
    "endless lists": (layout.saved(nested_lists()), "more than 8 deep|more entries"),
    "truncated": (GOOD[: len(GOOD) // 2], "truncated|ends"),
    "nearly whole": (GOOD[:-20], "truncated|ends|archive"),
    "undeclared, truncated": (layout.saved(layout.depth(), declared=False)[:900], "ends|archive|pickle"),
    "empty": (b"", "is empty"),
    "no zstd": (b"hello, this is text", "cannot be decompressed"),
    "no zip": (zstandard.compress(b"hello" * 100), "no archive of torch.save"),
    "another object": (layout.saved([1, 2]), "instead of a dict"),
    "tensors missing": (layout.saved(layout.classified()), "no tensor 'block.9'|no tensor 'block.19'"),
    "another shape": (layout.saved({f"layer.{b}": layout.values(2, 7, 9) for b in (9, 19, 29, 39)}), r"\[2, 7, 9\]"),
    "another type": (layout.saved({f"layer.{b}": layout.values(2, 7, 8).double() for b in (9, 19, 29, 39)}), "float64"),
    "tokens that differ": (layout.saved({f"layer.{b}": layout.values(2, b, 8) for b in (9, 19, 29, 39)}), r"\[2, 19"),
    "two spellings": (layout.saved({**layout.depth(), **layout.depth(prefix="layer")}), "twice"),
    "a declared bomb": (compressed_zeros(2**27, True), "declares 134217728 bytes"),
    "a bomb behind an archive": (followed_by_zeros(2**25), "holds more than 10[0-9]{5} bytes"),
    "an undeclared bomb": (compressed_zeros(2**27, False), "no archive of torch.save|holds more than|data.pkl"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_line_that_names_it(source, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, complaint = HOSTILE[case]
    raw = tmp_path / "raw" / "a"
    raw.mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(np.ones((3, 4), np.uint16)).save(raw / f"sync_depth_{number}.png")
    folder = source({"a-rgb_1-wflip.zst": content, "a-rgb_2-wflip.zst": GOOD})
    scenario = layout.tiny("cvu-nyuv2")
    with pytest.raises(DataError, match=complaint) as caught:
        import_published(scenario, folder, tmp_path / "out", raw=tmp_path / "raw")
    message = str(caught.value)
    assert message.startswith(str(folder / "a-rgb_1-wflip.zst")) and "\n" not in message and len(message) < 800
    told = []
    imported = import_published(
        scenario, folder, tmp_path / "out", raw=tmp_path / "raw", on_error="skip", tell=told.append
    )
    assert told == [message] == list(imported.skipped) and imported.samples == {"test": 1}
    assert open_split(scenario, "test", tmp_path / "out").sample_id(0) == "a-rgb_2"
    assert not (tmp_path / RAN).exists()


def test_a_directory_that_lies_about_places_is_found_out(source, tmp_path):
    archive = bytearray(zstandard.ZstdDecompressor().decompress(GOOD))
    at = archive.index(b"archive/data/1", archive.index(b"PK\x01\x02"))  # in the directory
    archive[at + 13 : at + 14] = b"0"
    folder = source({"a-rgb_1-wflip.zst": zstandard.compress(bytes(archive))})
    (tmp_path / "raw" / "a").mkdir(parents=True)
    Image.fromarray(np.ones((3, 4), np.uint16)).save(tmp_path / "raw" / "a" / "sync_depth_1.png")
    with pytest.raises(DataError, match=r"directory|no record|archive"):
        import_published(layout.tiny("cvu-nyuv2"), folder, tmp_path / "out", raw=tmp_path / "raw")


def test_answers_of_every_language_task():
    answers = {
        "clu-arc-challenge": ({"answerKey": "2"}, "B"),
        "clu-hellaswag": ({"label": "3"}, "D"),
        "clu-winogrande": ({"answer": "2"}, "B"),
        "clu-gsm8k": ({"answer": "so #### 4"}, "so #### 4"),
        "clu-truthfulqa-mc1": ({}, "A"),
    }
    for id, (document, answer) in answers.items():
        assert language_reference(task_of(id), document) == answer
    with pytest.raises(DataError, match="does not tell its answer"):
        language_reference(task_of("clu-hellaswag"), {"label": ""})


def test_frames_in_several_pieces_are_one_file(source, tmp_path):
    tree = layout.classified()
    archive = zstandard.ZstdDecompressor().decompress(layout.saved(tree))
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    frames = skipped + zstandard.compress(archive[:1000]) + zstandard.compress(archive[1000:])
    scenario = layout.tiny("cvu-imagenet-val")
    import_published(scenario, source({"n01440764-a.zst": frames}), tmp_path / "out")
    stored = open_split(scenario, "test", tmp_path / "out").features(0)["block.39"]
    assert same(stored, tree["backbone.blocks.39"][0])


def test_names_and_references_that_are_missing_are_told(source, tmp_path):
    scenario = layout.tiny("clu-gsm8k")
    with pytest.raises(DataError, match=re.escape("name the raw data with --raw")):
        import_published(scenario, source({"sample1-layer4-item1.zst": layout.qwen3()}), tmp_path / "out")
    with pytest.raises(DataError, match=r"is not named sampleN"):
        import_published(scenario, (folder := source({"1.zst": layout.qwen3()})), tmp_path / "out")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no class of ImageNet"):
        import_published(layout.tiny("cvu-imagenet-val"), source({"x-1.zst": layout.classified()}), tmp_path / "out")


def nested(depth):
    """A tuple that holds another twice, and so on: a few bytes, which written out are 2 to the power of the depth."""
    steps = [b"\x80\x04)\x94"]
    for at in range(depth):
        steps.append(b"h" + bytes([at]) + b"h" + bytes([at]) + b"\x86\x94")
    return b"".join(steps)


@pytest.mark.parametrize(
    "end",
    [
        b"h\x3ch\x3c\x93.",  # a class of this name
        b"ctorch\ndevice\nh\x3c\x85R.",
        b"cnumpy\ndtype\nh\x3c\x85R.",
        b"c_codecs\nencode\nX\x01\x00\x00\x00ah\x3c\x86R.",
        b"}h\x3cK\x01s.",  # a key of a dict
        b"h\x3cQ.",
    ],
    ids=["class", "device", "dtype", "encoding", "key", "storage"],
)
def test_tuples_that_hold_themselves_twice_over_are_refused_at_once(source, tmp_path, end):
    scenario = layout.tiny("cvu-imagenet-val")
    folder = source({"n01440764-a.zst": zipped(nested(60) + end)})
    with pytest.raises(DataError, match=r"n01440764-a\.zst: ") as caught:
        import_published(scenario, folder, tmp_path / "out")
    assert len(str(caught.value)) < 1000
