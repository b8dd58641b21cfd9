"""Published files of every family become datasets."""

import json
import re
import shutil

import numpy as np
import published_layout as layout
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


# ------------------------------------------------------------------------------------------------ frames and references


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
