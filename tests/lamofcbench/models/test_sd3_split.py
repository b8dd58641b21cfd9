"""The split pipeline draws the images of diffusers' own, and its tail needs neither text encoders nor VAE encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan, randomised
from torch import Tensor

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.loading import load_model
from lamofcbench.models.sd3 import ControlledPrompt, SD3ControlNetSplitModel, SD3Options
from lamofcbench.provenance import adapter_identity
from lamofcbench.scenarios.base import SCENARIOS, Scenario

SIDE, TOKENS, T5_TOKENS = 16, 7, 9
WORDS = ("a", "red", "cat", "on", "mat")
CONDITION = SCENARIOS.get("ctti-coco-canny")
OPTIONS: dict[str, Any] = {
    "height": SIDE,
    "width": SIDE + 8,
    "num_inference_steps": 3,
    "guidance_scale": 3.5,
    "t5_tokens": T5_TOKENS,
}


def options(**changes: Any) -> SD3Options:
    return SD3Options(**{**OPTIONS, **changes})


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    from transformers import CLIPTokenizer, T5Tokenizer

    letters = sorted(set("".join(WORDS)))
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    clip = CLIPTokenizer(vocab={t: i for i, t in enumerate(vocabulary)}, merges=[], model_max_length=TOKENS)
    pieces = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS)]
    t5 = T5Tokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0)
    return {"tokenizer": clip, "tokenizer_2": clip, "tokenizer_3": t5}


@pytest.fixture(scope="module")
def make_parts(tokenizers: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Makes a tiny pipeline of random weights, those included that training starts at zero.

    With `large`, the ControlNet is of the kind of Stable Diffusion 3.5 Large: no text, the transformer's positions.
    """

    def make(large: bool = True) -> dict[str, Any]:
        import diffusers
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

        tokenizer = tokenizers["tokenizer"]

        def clip(width: int, seed: int) -> Any:
            config = CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=3,
                num_attention_heads=2,
                projection_dim=width - 4,
                max_position_embeddings=TOKENS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
            return randomised(CLIPTextModelWithProjection(config), seed)

        shared: dict[str, Any] = {
            "sample_size": 4,
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 4,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "pooled_projection_dim": 20,
            "caption_projection_dim": 16,
            "pos_embed_max_size": 8,
        }
        own = {"joint_attention_dim": None, "use_pos_embed": False, "pos_embed_type": None} if large else {}
        controlnet = diffusers.SD3ControlNetModel(
            num_layers=2, force_zeros_for_pooled_projection=large, **{"joint_attention_dim": 32, **shared, **own}
        )
        t5 = T5Config(vocab_size=len(tokenizers["tokenizer_3"]), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=2)
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            use_quant_conv=not large,
            use_post_quant_conv=not large,
            scaling_factor=1.3,
            shift_factor=0.2,
        )
        transformer = diffusers.SD3Transformer2DModel(num_layers=4, joint_attention_dim=32, **shared)
        return {
            **tokenizers,
            "text_encoder": clip(12, 1),
            "text_encoder_2": clip(16, 2),
            "text_encoder_3": randomised(T5EncoderModel(t5), 3),
            "vae": randomised(vae, 4, spread=0.3),
            "transformer": randomised(transformer, 5, spread=0.2),
            "controlnet": randomised(controlnet, 6, spread=0.2),
            "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        }

    return make


@pytest.fixture(params=["large", "medium"])
def model(request: Any, make_parts: Any) -> SD3ControlNetSplitModel:
    return SD3ControlNetSplitModel(make_parts(request.param == "large").__getitem__, options())


@pytest.fixture
def latent_model(make_parts: Any) -> SD3ControlNetSplitModel:
    return SD3ControlNetSplitModel(make_parts().__getitem__, options(mode="latent"))


def prompts(count: int = 3) -> list[ControlledPrompt]:
    source = np.random.default_rng(0)
    texts = ["red cat", "mat", "a cat"]
    images = [source.integers(0, 256, (20 + 4 * i, 33, 3), dtype=np.uint8) for i in range(count)]
    return [
        ControlledPrompt(texts[i % 3], "red" if i else "", image, seed=5 + i // 2) for i, image in enumerate(images)
    ]


def pixels_apart(first: Any, second: Any) -> int:
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())


# Bit for bit on Intel's processors; on others, products of the same rows may be rounded otherwise, by their layout.
ROUNDING = 1


def test_one_sample_gives_the_full_pipelines_image(model: SD3ControlNetSplitModel) -> None:
    for sample in prompts():
        image = model.tail([model.front(sample)])[0]
        assert image.dtype == np.uint8 and image.shape == (SIDE, SIDE + 8, 3)
        assert pixels_apart(image, model.full(sample)) <= ROUNDING
        assert image.std() > 10  # neither black nor white all over


def test_the_second_split_gives_the_full_pipelines_image(latent_model: SD3ControlNetSplitModel) -> None:
    for sample in prompts():
        features = latent_model.front(sample)
        assert list(features) == ["latent"] and features["latent"].shape == (4, 4, 6)
        assert pixels_apart(latent_model.tail([features])[0], latent_model.full(sample)) <= ROUNDING


def test_the_latents_are_taken_before_scaling_and_shift(latent_model: SD3ControlNetSplitModel) -> None:
    decoded: list[Tensor] = []
    vae = latent_model.component("vae")
    decode = vae.decode
    vae.decode = lambda latents, **options: (decoded.append(latents), decode(latents, **options))[1]
    features = latent_model.front(prompts()[0])
    latent_model.tail([features])
    latent_model.full(prompts()[0])  # the pipeline of diffusers scales and shifts its own
    config = vae.config
    for decoder_input in decoded:
        latent = (decoder_input[0] - config.shift_factor) * config.scaling_factor
        assert torch.allclose(latent, features["latent"], rtol=1e-4, atol=1e-4)
    assert len(decoded) == 2 and config.scaling_factor != 1 and config.shift_factor != 0


def test_where_latents_are_taken_has_an_identity_of_its_own() -> None:
    assert adapter_identity(SCENARIOS.get("mini-ctti-shapes")) == "lamofcbench:sd3-controlnet@1"
    latent = adapter_identity(SCENARIOS.get("mini-ctti-shapes-latent"))
    assert latent == "lamofcbench:sd3-controlnet@1 + lamofcbench:sd3-latent@2"


def test_a_batch_gives_the_single_images_up_to_rounding(model: SD3ControlNetSplitModel) -> None:
    samples = prompts(5)
    images = model.tail([model.front(sample) for sample in samples])
    singles = [model.full(sample) for sample in samples]
    assert pixels_apart(images, singles) <= 1
    assert pixels_apart(singles[0], singles[3]) > 20  # they differ at all
    assert model.tail([]) == []


def test_features_are_what_the_modules_give(model: SD3ControlNetSplitModel) -> None:
    sample = prompts()[0]
    features = model.front(sample)
    assert list(features) == [spec.name for spec in CONDITION.tensors]
    assert [tensor.ndim for tensor in features.tensors.values()] == [len(spec.shape) for spec in CONDITION.tensors]
    assert dict(features.side) == {"seed": 5}
    assert features["clip_l.hidden.positive"].shape == (TOKENS, 12)
    assert features["t5.hidden.negative"].shape == (T5_TOKENS, 32)
    assert features["vae_encoder.0"].shape == (8, 4, 6)
    assert torch.equal(features["vae_encoder.0"], features["vae_encoder.1"])


def test_text_features_make_up_the_pipelines_prompt_embeddings(model: SD3ControlNetSplitModel) -> None:
    sample = prompts()[1]
    features = model.front(sample)
    pipeline = model._pipeline("text_encoder", "text_encoder_2", "text_encoder_3", *("tokenizer", "tokenizer_2"))
    pipeline.tokenizer_3 = model.component("tokenizer_3")
    with torch.no_grad():
        expected = pipeline.encode_prompt(
            prompt=sample.prompt,
            prompt_2=None,
            prompt_3=None,
            negative_prompt=sample.negative_prompt,
            do_classifier_free_guidance=True,
            max_sequence_length=T5_TOKENS,
        )
    for which, prompt in enumerate(("positive", "negative")):
        hidden, pooled = model._joined([features], prompt)
        assert torch.equal(hidden, expected[which])
        assert torch.equal(pooled, expected[2 + which])


def test_the_image_is_the_published_pipelines_own_given_its_random_numbers(model: SD3ControlNetSplitModel) -> None:
    """The pipeline as it is, with its generator for the latents, and the global one giving our control noise."""
    sample = prompts()[0]
    pipeline = model._pipeline(*(f"{kind}{n}" for kind in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")))
    source = torch.Generator().manual_seed(sample.seed)
    torch.randn((1, 4, 4, 6), generator=source)
    torch.set_rng_state(source.get_state())  # where the sample's own generator stands after the first draw
    image = pipeline(
        prompt=sample.prompt,
        negative_prompt=sample.negative_prompt,
        control_image=model._control_pixels(sample.control_image),
        generator=torch.Generator().manual_seed(sample.seed),
        max_sequence_length=T5_TOKENS,
        output_type="pil",
        **model._settings,
    ).images[0]
    assert np.array_equal(np.asarray(image), model.tail([model.front(sample)])[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_published_noise_is_that_of_a_run_of_the_pipeline_over_all_samples(make_parts: Any, dtype: str) -> None:
    """The pipeline as it is: a generator a sample for the latents, and the global one, seeded once, for the rest."""
    compute = getattr(torch, dtype)
    parts = {name: part.to(compute) if hasattr(part, "to") else part for name, part in make_parts().items()}
    model = SD3ControlNetSplitModel(parts.__getitem__, options(noise="published", compute_dtype=dtype))
    samples = [dataclasses.replace(one, seed=42, position=place) for place, one in enumerate(prompts())]
    features = [model.front(sample) for sample in samples]
    assert [dict(one.side) for one in features] == [{"seed": 42, "position": place} for place in range(3)]
    pipeline = model._pipeline(*(f"{kind}{n}" for kind in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")))
    model.tail(features)  # to make a pipeline draws from the global generator
    state = torch.get_rng_state()
    torch.manual_seed(42)
    for sample, one in zip(samples, features, strict=True):
        image = pipeline(
            prompt=sample.prompt,
            negative_prompt=sample.negative_prompt,
            control_image=model._control_pixels(sample.control_image),
            generator=torch.Generator().manual_seed(42),
            max_sequence_length=T5_TOKENS,
            output_type="pil",
            **model._settings,
        ).images[0]
        assert pixels_apart(image, model.tail([one])[0]) <= (ROUNDING if dtype == "float32" else 8)
    torch.set_rng_state(state)
    assert pixels_apart(model.tail(features[1:2]), model.tail([FeatureSet(features[1].tensors, features[0].side)])) > 0
    with pytest.raises(ScenarioError, match="declare side information 'position' beside 'seed'"):
        model.tail([FeatureSet(features[0].tensors, {"seed": 42})])


def test_the_image_depends_on_the_seed_and_on_no_other_generator(model: SD3ControlNetSplitModel) -> None:
    features = model.front(prompts()[0])
    image = model.tail([features])[0]
    state = torch.get_rng_state()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert np.array_equal(model.tail([features])[0], image)
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(state)
    other = FeatureSet(features.tensors, {"seed": 6})
    assert pixels_apart(model.tail([other])[0], image) > 20


@pytest.mark.parametrize("mode", ["condition", "latent"])
def test_the_tail_needs_no_weight_of_the_front(make_parts: Any, mode: str) -> None:
    model = SD3ControlNetSplitModel(make_parts().__getitem__, options(mode=mode))
    features = [model.front(sample) for sample in prompts()]
    before = model.tail(features)
    fill_with_nan(model.front_modules())
    assert np.array_equal(model.tail(features), before)
    assert all(torch.stack([t.isnan().any() for t in model.front(prompts()[0]).tensors.values()]))  # gone indeed


@pytest.mark.parametrize(
    ("mode", "needed"),
    [("condition", {"transformer", "controlnet", "scheduler", "vae"}), ("latent", {"vae"})],
)
def test_a_tail_loads_no_component_of_the_front(make_parts: Any, mode: str, needed: set[str]) -> None:
    parts = make_parts()
    features = SD3ControlNetSplitModel(parts.__getitem__, options(mode=mode)).front(prompts()[0])
    loaded: list[str] = []

    def component(name: str) -> Any:
        loaded.append(name)
        return parts[name]

    SD3ControlNetSplitModel(component, options(mode=mode)).tail([features] * 2)
    assert set(loaded) == needed and len(loaded) == len(needed)


def test_a_front_loads_no_transformer(make_parts: Any) -> None:
    parts = make_parts()
    absent = ("transformer", "controlnet", "scheduler")
    without = {name: part for name, part in parts.items() if name not in absent}
    assert len(SD3ControlNetSplitModel(without.__getitem__, options()).front(prompts()[0])) == 12


def test_every_tensor_is_alive(model: SD3ControlNetSplitModel, latent_model: SD3ControlNetSplitModel) -> None:
    for split, count in ((model, 12), (latent_model, 1)):
        features = split.front(prompts()[0])
        assert len(features) == count
        image = split.tail([features])[0]
        for name in features:
            changed = {key: t + (key == name) * torch.randn_like(t) for key, t in features.tensors.items()}
            assert pixels_apart(split.tail([FeatureSet(changed, features.side)])[0], image) > 0, name


def test_variances_of_the_control_latents_count(model: SD3ControlNetSplitModel) -> None:
    features = model.front(prompts()[0])
    changed = dict(features.tensors)
    changed["vae_encoder.1"] = torch.cat([changed["vae_encoder.1"][:4], changed["vae_encoder.1"][4:] + 1])
    assert pixels_apart(model.tail([FeatureSet(changed, features.side)])[0], model.tail([features])[0]) > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_stored_in_half_precision_are_computed_on_in_full(model: SD3ControlNetSplitModel, dtype: Any) -> None:
    features = model.front(prompts()[0])
    stored = FeatureSet({name: tensor.to(dtype) for name, tensor in features.tensors.items()}, features.side)
    widened = FeatureSet({name: tensor.float() for name, tensor in stored.tensors.items()}, features.side)
    assert np.array_equal(model.tail([stored]), model.tail([widened]))


def test_the_vae_is_as_before_after_use_and_after_failure(
    model: SD3ControlNetSplitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = model.front(prompts()[0])
    before = model.tail([features])[0]
    with monkeypatch.context() as patch:
        patch.setattr(model.component("transformer"), "forward", lambda **inputs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.tail([features])
    assert "encode" not in vars(model.component("vae"))
    assert np.array_equal(model.full(prompts()[0]), before)


def test_the_control_image_reaches_the_encoder_in_the_range_that_the_options_state(make_parts: Any) -> None:
    image = np.full((SIDE, SIDE + 8, 3), 51, dtype=np.uint8)
    usual, published = options(), options(control_gain=127.5, control_offset=0.5)
    for chosen, value in ((usual, -0.6), (published, 26.0)):
        pixels = SD3ControlNetSplitModel(make_parts().__getitem__, chosen)._control_pixels(image)
        assert pixels.shape == (1, 3, SIDE, SIDE + 8)
        torch.testing.assert_close(pixels, torch.full_like(pixels, value))


def test_features_of_another_size_are_refused(model: SD3ControlNetSplitModel) -> None:
    features = model.front(prompts()[0])
    for name in ("vae_encoder.1", "clip_g.hidden.negative"):
        cut = {key: t[..., :-1] if key == name else t for key, t in features.tensors.items()}
        with pytest.raises(ScenarioError, match=r"has shape .* should be"):
            model.tail([features, FeatureSet(cut, features.side)])


# ------------------------------------------------------------------------------------------------------ from a folder


@pytest.fixture(scope="module")
def folder(make_parts: Any, tmp_path_factory: Any) -> Path:
    """A pipeline in the published layout, with the ControlNet beside the other components."""
    from diffusers import StableDiffusion3ControlNetPipeline

    path = tmp_path_factory.mktemp("sd3")
    parts = make_parts(large=False)  # the other kind's ControlNet gets foreign weights when it is put into a pipeline
    StableDiffusion3ControlNetPipeline(**parts).save_pretrained(path)
    return path


def scenario_of(path: Path, **changes: Any) -> Scenario:
    backbone = CONDITION.backbone.model_copy(update={"source": str(path), "options": {**OPTIONS, **changes}})
    return CONDITION.model_copy(update={"backbone": backbone})


def test_a_folder_in_the_published_layout_gives_the_same_images(folder: Path, make_parts: Any) -> None:
    loaded = load_model(scenario_of(folder))
    built = SD3ControlNetSplitModel(make_parts(large=False).__getitem__, options())
    for sample in prompts(2):
        assert np.array_equal(loaded.tail([loaded.front(sample)]), built.tail([built.front(sample)]))
        assert np.array_equal(loaded.full(sample), built.full(sample))


def test_a_component_that_is_missing_or_incomplete_is_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / "copy" / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("decoder.conv_in.weight")
    save_file(weights, file)
    model = load_model(scenario_of(tmp_path / "copy"))
    with pytest.raises(DataError, match=r"vae lacks 1 weights, the first is decoder\.conv_in\.weight"):
        model.front(prompts()[0])
    shutil.rmtree(tmp_path / "copy" / "text_encoder_2")
    with pytest.raises(DataError, match="text_encoder_2"):
        load_model(scenario_of(tmp_path / "copy")).front(prompts()[0])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"guidance_scale": 1.0}, "guidance_scale: Input should be greater than 1"),
        ({"mode": "latents"}, "mode: Input should be 'condition' or 'latent'"),
        ({"guidance": 3}, "did you mean 'guidance_scale'"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        load_model(scenario_of(folder, **changes))


def test_both_repositories_must_be_pinned() -> None:
    unpinned = CONDITION.backbone.model_copy(update={"revision": None})
    with pytest.raises(ScenarioError, match=r"does not pin stabilityai/stable-diffusion-3\.5-large; .* set backbone"):
        load_model(CONDITION.model_copy(update={"backbone": unpinned}))
    with pytest.raises(ScenarioError, match=r"controlnet-canny; .* set the option controlnet_revision to a 40-digit"):
        load_model(CONDITION)


def test_the_hub_is_asked_for_pinned_commits_of_each_component(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers
    import transformers

    asked: dict[str, tuple[str, dict[str, Any]]] = {}

    def remember(name: str) -> Any:
        def from_pretrained(source: str, **arguments: Any) -> Any:
            asked[name] = source, arguments
            made = SimpleNamespace(eval=lambda: made)
            info: dict[str, list[str]] = {"missing_keys": [], "mismatched_keys": []}
            return (made, info) if "output_loading_info" in arguments else made

        return from_pretrained

    for library, name in ((diffusers, "SD3ControlNetModel"), (transformers, "T5EncoderModel")):
        monkeypatch.setattr(getattr(library, name), "from_pretrained", remember(name))
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", remember("AutoTokenizer"))
    revisions = {"revision": "1" * 40, "options": {**CONDITION.backbone.options, "controlnet_revision": "2" * 40}}
    model = load_model(CONDITION.model_copy(update={"backbone": CONDITION.backbone.model_copy(update=revisions)}))
    for name in ("controlnet", "text_encoder_3", "tokenizer_2"):
        model.component(name)  # type: ignore[attr-defined]
    found = {name: (source, args["revision"][0], args.get("subfolder")) for name, (source, args) in asked.items()}
    large = "stabilityai/stable-diffusion-3.5-large"
    assert found == {
        "SD3ControlNetModel": (f"{large}-controlnet-canny", "2", None),
        "T5EncoderModel": (large, "1", "text_encoder_3"),
        "AutoTokenizer": (large, "1", "tokenizer_2"),
    }
    assert all(args.get("use_safetensors", True) for _, args in asked.values())


def test_the_declared_variant_differs_in_its_split_alone() -> None:
    variant = SCENARIOS.get("ctti-coco-canny-latent")
    assert variant.backbone.options == {**CONDITION.backbone.options, "mode": "latent"}
    parsed = [SD3Options.model_validate(scenario.backbone.options) for scenario in (CONDITION, variant)]
    assert parsed[1] == parsed[0].model_copy(update={"mode": "latent"})
    assert dataclasses.is_dataclass(ControlledPrompt)


@pytest.mark.parametrize("mode", ["condition", "latent"])
def test_gradients_go_through_all_steps_as_finite_differences_have_it(
    mode: str, make_parts: Any, monkeypatch: Any
) -> None:
    """Along a random direction of each feature; the steps are computed once more for them and leave nothing behind."""
    parts = make_parts()
    features = SD3ControlNetSplitModel(parts.__getitem__, options(mode=mode)).front(prompts()[0])
    monkeypatch.setattr(SD3Options, "dtype", torch.float64)  # finite differences want digits; the scheduler keeps fp32
    model = SD3ControlNetSplitModel({n: _in_double(part) for n, part in parts.items()}.__getitem__, options(mode=mode))
    leaves = {name: tensor.double().requires_grad_() for name, tensor in features.tensors.items()}
    weights = torch.randn(SIDE * (SIDE + 8), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = (model.response([FeatureSet(leaves, features.side)])[0] * weights).sum()
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    assert all("forward" not in vars(parts[name]) for name in ("transformer", "controlnet"))
    for name, tensor in features.tensors.items():
        direction = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1e-4
        ends = []
        for sign in (1, -1):
            moved = {**features.tensors, name: tensor + sign * direction}
            with torch.no_grad():
                ends.append((model.response([FeatureSet(moved, features.side)])[0] * weights).sum())
        expected = float(ends[0] - ends[1]) / 2
        assert float((gradients[name] * direction).sum()) == pytest.approx(expected, rel=0.02, abs=2e-4), name


def _in_double(part: Any) -> Any:
    return part.double() if isinstance(part, torch.nn.Module) else part
