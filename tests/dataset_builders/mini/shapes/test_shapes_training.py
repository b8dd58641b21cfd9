"""The stages of the pipeline's training: what their losses see, exact resume, and the layout that is exported."""

import argparse
import json

import pytest
import torch
from safetensors.torch import load_file

from dataset_builders.mini.shapes import _components as components
from dataset_builders.mini.shapes import _train_shapes_features as features_training
from dataset_builders.mini.shapes import _train_shapes_sd3 as sd3_training
from dataset_builders.mini.shapes._pictures import first_scenes, picture_tensors
from dataset_builders.mini.shapes.features import ATTRIBUTES, load_features
from dataset_builders.mini.shapes.scenes import WORDS
from lamofcbench.models.sd3 import SD3ControlNetSplitModel
from lamofcbench.scenarios.mini_ctti_shapes import MINI_CTTI_SHAPES


def arguments(folder, steps=2, seed=3):
    return argparse.Namespace(
        output=folder / "model", checkpoints=folder / "checkpoints", seed=seed, steps=steps, threads=1
    )


@pytest.fixture
def tiny(monkeypatch):
    for module in (sd3_training, features_training):
        monkeypatch.setattr(module, "PICTURES", 8)
    for name, value in (("VAE_BATCH", 2), ("BATCH", 2), ("SCORED", 2)):
        monkeypatch.setattr(sd3_training, name, value)


@pytest.fixture
def losses():
    """The loss of a step without and with a ControlNet, on untrained parts, and those parts."""
    torch.manual_seed(0)
    chosen = first_scenes("training", 12)
    pictures, edges = picture_tensors(chosen)
    vae = components.make_vae()
    vae.register_to_config(shift_factor=0.1, scaling_factor=1.2)
    model, controlnet = sd3_training.TextToImage(), components.make_controlnet()
    loss = sd3_training.FlowLoss(
        model, vae, sd3_training.encode(vae, pictures), [scene.caption for scene in chosen], seed=1
    )
    return loss, model, controlnet, sd3_training.encode(vae, edges)


def test_each_word_is_one_token():
    clip, t5 = components.make_clip_tokenizer(), components.make_t5_tokenizer()
    for word in WORDS:
        assert len(clip(word).input_ids) == 3 and clip.decode(clip(word).input_ids, skip_special_tokens=True) == word
        assert len(t5(word).input_ids) == 2
        assert clip.unk_token_id not in clip(word).input_ids[1:-1] and t5.unk_token_id not in t5(word).input_ids
    for scene in first_scenes("test", 20):
        assert len(clip(scene.caption).input_ids) <= components.TEXT_TOKENS


def test_a_loss_depends_on_the_step_alone(losses):
    loss, _, controlnet, edges = losses
    first = loss(3), loss.with_control(3, controlnet, edges)
    torch.rand(5)
    assert torch.equal(loss(3), first[0]) and torch.equal(loss.with_control(3, controlnet, edges), first[1])
    assert not torch.equal(loss(4), first[0])


def test_an_untrained_model_predicts_nothing_so_its_loss_is_that_of_noise_and_picture(losses):
    loss, *_ = losses
    assert 1.0 < float(loss(0).detach()) < 6.0


def test_an_untrained_controlnet_changes_nothing_but_learns(losses):
    loss, model, controlnet, edges = losses
    torch.nn.init.normal_(model.transformer.proj_out.weight)
    for module in model.transformer.modules():
        if hasattr(module, "linear") and hasattr(module.linear, "bias"):
            torch.nn.init.normal_(module.linear.bias, std=0.1)
    model.requires_grad_(False)
    controlled = loss.with_control(0, controlnet, edges)
    controlled.backward()
    assert all(block.weight.grad.abs().sum() > 0 for block in controlnet.controlnet_blocks)
    assert not any(block.weight.any() for block in controlnet.controlnet_blocks)


def test_the_transformer_stage_trains_all_three_text_encoders(losses):
    loss, model, *_ = losses
    for module in model.transformer.modules():  # past the zeros with which it starts
        if hasattr(module, "linear") and hasattr(module.linear, "bias"):
            torch.nn.init.normal_(module.linear.weight, std=0.1)
            torch.nn.init.normal_(module.linear.bias, std=0.1)
    torch.nn.init.normal_(model.transformer.proj_out.weight)
    loss(0).backward()
    for encoder in (model.text_encoder, model.text_encoder_2, model.text_encoder_3):
        assert next(encoder.parameters()).grad.abs().sum() > 0


def test_a_finished_run_is_exported_again_with_the_same_bits(tiny, tmp_path, capsys):
    sd3_training.train(arguments(tmp_path))
    files = {path: path.read_bytes() for path in (tmp_path / "model").rglob("*.safetensors")}
    assert len(files) == 6
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert {"train_accuracy", "calibration_accuracy", "held_out_accuracy", "chance_accuracy"} <= set(record)
    sd3_training.train(arguments(tmp_path))  # from its checkpoints
    assert all(path.read_bytes() == content for path, content in files.items())

    folder = tmp_path / "model"
    from diffusers import StableDiffusion3ControlNetPipeline

    pipeline = StableDiffusion3ControlNetPipeline.from_pretrained(folder)
    split = SD3ControlNetSplitModel.load(MINI_CTTI_SHAPES, folder, "cpu")
    for name in ("transformer", "controlnet", "vae", "text_encoder_2", "text_encoder_3"):
        stored, published = split.component(name).state_dict(), getattr(pipeline, name).state_dict()
        assert set(stored) <= set(published)
        assert all(torch.equal(tensor, published[key].float()) for key, tensor in stored.items())
    assert not list(folder.rglob(".*"))
    assert {str(t.dtype) for file in files for t in load_file(file).values()} == {"torch.float16"}


def test_the_feature_network_resumes_exports_and_standardises(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(features_training, "HELD_OUT", 10)
    features_training.train(arguments(tmp_path, steps=4))
    stored = load_features(tmp_path / "model")
    pictures, _ = picture_tensors(first_scenes("training", 8))
    assert stored.standardised(pictures).mean(dim=0).abs().max() < 0.1
    assert {name: logits.shape[1] for name, logits in stored.logits(pictures).items()} == {
        name: len(values) for name, values in ATTRIBUTES.items()
    }
    content = (tmp_path / "model" / "model.safetensors").read_bytes()
    features_training.train(arguments(tmp_path, steps=4))
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == content
