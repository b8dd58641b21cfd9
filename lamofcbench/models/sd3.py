"""Stable Diffusion 3 pipelines with a ControlNet, split behind the encoders, or a second time before the VAE's decoder.

In mode ``condition`` the features are what the text encoders and the VAE's encoder give, as the modules give it:

* ``clip_l.pooled``, ``[P]``, and ``clip_l.hidden``, the penultimate hidden states ``[T, C]``; the same of ``clip_g``;
  ``t5.hidden``, ``[T, C]``; first all of the positive prompt, then all of the negative one;
* ``vae_encoder.0`` and ``.1``, ``[2 L, h, w]``: the encoder's output for the control image, means and then logarithms
  of variances, for the negative half of classifier-free guidance and then for the positive one.

The transformer, the ControlNet and the VAE's decoder stand behind this split. In mode ``latent`` they all but the
decoder stand before it, and the one feature is ``latent``, ``[L, h, w]``: the latents as the denoising loop leaves
them, in the transformer's units, as in the published features. The decoder's input, ``latent / scaling_factor +
shift_factor``, is made by the tail.

The published pipeline draws the control image's latents from torch's global generator, so that its images depend on
what ran before. Here a sample's own generator, seeded with the side information ``seed``, gives all noise in this
order: the initial latents, then the noise of the control latents of the negative and of the positive half. The first
draw is the one that the pipeline itself makes with such a generator. Noise is drawn on the CPU in float32, so that
neither the device nor the batch changes it.

With option ``noise`` set to ``published`` all noise is drawn in compute precision, and that of the control latents as
the pipeline draws it: from one generator of the device, seeded once for all samples, both halves at once. The sample at
place n, counted from 0, gets draw n; the place is side information ``position``, which the scenario then declares
beside ``seed``. Another kind of device draws other numbers, and what else a published run may have drawn is not known.

Components are loaded when they are first used: a tail loads no text encoder, a front in mode ``condition`` no
transformer.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lamofcbench.errors import ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.images import to_unit_pixels
from lamofcbench.models.loading import (
    AdapterOptions,
    load_pretrained,
    load_settings,
    load_tokenizer,
    parse_options,
    require_pinned,
    without_remarks,
)
from lamofcbench.models.placement import current, placed, settled
from lamofcbench.scenarios.base import Scenario

TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
PROMPTS = ("positive", "negative")
TEXT_FEATURES = ("clip_l.pooled", "clip_l.hidden", "clip_g.pooled", "clip_g.hidden", "t5.hidden")
CONTROL_FEATURES = ("vae_encoder.0", "vae_encoder.1")


class SD3Options(AdapterOptions):
    """The options of a pipeline and of a run of it.

    Attributes:
        controlnet: the ControlNet's Hub id, or the name of its folder beside the pipeline's other components.
        controlnet_revision: the 40-digit commit of that Hub id.
        mode: which split, see the module's text.
        height: of the control image and of the result, in pixels.
        width: likewise.
        num_inference_steps: denoising steps.
        guidance_scale: of classifier-free guidance, above 1.
        controlnet_conditioning_scale: the weight of the ControlNet's residuals.
        t5_tokens: to how many tokens T5's prompts are padded or cut; CLIP's tokenizers say so themselves.
        control_gain: the VAE's encoder sees the control image, 0 to 1, times this,
        control_offset: plus this. The default is the VAE's usual input range; some ControlNets were trained on another.
        noise: ``sample`` for noise by each sample's seed alone, ``published`` for control latents as the published run
            draws them, see the module's text.
    """

    controlnet: str = "controlnet"
    controlnet_revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    mode: Literal["condition", "latent"] = "condition"
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    num_inference_steps: int = Field(gt=0)
    guidance_scale: float = Field(gt=1)
    controlnet_conditioning_scale: float = 1.0
    t5_tokens: int = Field(default=77, gt=0)
    control_gain: float = 2.0
    control_offset: float = -1.0
    noise: Literal["sample", "published"] = "sample"


@dataclass(frozen=True)
class ControlledPrompt:
    """One raw sample.

    Attributes:
        prompt: what the image is to show.
        negative_prompt: what it is not to show.
        control_image: uint8 ``[H, W, 3]`` or ``[H, W]``, such as edges.
        seed: of all noise, 0 to 2**63 - 1.
        position: the sample's place in the run, for noise as published.
    """

    prompt: str
    negative_prompt: str
    control_image: np.ndarray
    seed: int
    position: int = 0


@dataclass(frozen=True)
class _Noise:
    """What a sample's seed gives: ``[L, h, w]`` and ``[2, L, h, w]``."""

    initial: Tensor
    control: Tensor


class LatentSplit:
    """The split before the VAE's decoder; apart from the adapter, so that the other mode's identity stays as it is.

    Revision 1 took the latents after scaling and shift, revision 2 takes them before.
    """

    name = "sd3-latent"
    revision = 2


class SD3ControlNetSplitModel(SplitModel):
    """A Stable Diffusion 3 pipeline with a ControlNet, split after its encoders or before its decoder.

    Args:
        component: gives a component of the pipeline by its name there, such as ``text_encoder_2`` or ``controlnet``.
        options: of the pipeline's run.
        device: a torch device.
    """

    name = "sd3-controlnet"
    response_kind = "values"
    hub_options: ClassVar = {"controlnet": "controlnet_revision"}

    def __init__(self, component: Callable[[str], Any], options: SD3Options, device: str = "cpu") -> None:
        self._make, self._components = component, dict[str, Any]()
        self._placement = current()  # of components, which are loaded later
        self.options, self.device = options, torch.device(device)

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> SD3ControlNetSplitModel:
        """The pipeline of a scenario, its components to be loaded when they are used."""
        options = parse_options(SD3Options, scenario)
        if directory is None:
            field = "the option controlnet_revision"
            require_pinned(scenario, options.controlnet, options.controlnet_revision, field)
        return cls(_loader(scenario, directory, options), options, device)

    @classmethod
    def parts(cls, scenario: Scenario) -> tuple[type, ...]:
        """In mode ``latent`` the split before the decoder, which has a revision of its own."""
        return (LatentSplit,) if parse_options(SD3Options, scenario).mode == "latent" else ()

    def component(self, name: str) -> Any:
        """A component by its name in the pipeline, loaded at the first call."""
        if name not in self._components:
            with placed(self._placement):
                made = self._make(name)
            if isinstance(made, nn.Module):
                settled(made, self.device).eval().requires_grad_(False)
            self._components[name] = made
        return self._components[name]

    @torch.no_grad()
    def front(self, inputs: ControlledPrompt) -> FeatureSet:
        """The features of one prompt with its control image."""
        condition = self._condition(inputs)
        if self.options.mode == "condition":
            return condition
        return FeatureSet({"latent": self._latents([condition])[0].cpu()})

    @torch.no_grad()
    def tail(self, batch: Sequence[FeatureSet]) -> list[np.ndarray]:
        """The images, uint8 ``[height, width, 3]`` each."""
        return _rounded(self._images(batch)) if batch else []

    @torch.no_grad()
    def full(self, inputs: ControlledPrompt) -> np.ndarray:
        """The image of the unsplit pipeline of diffusers, which gets text and image; only the noise is ours."""
        pipeline = self._pipeline(*TEXT_ENCODERS, *TOKENIZERS)
        noise = self._noise(self._side(inputs))
        encode = self._vae.encode

        def encode_and_draw(pixels: Tensor, return_dict: bool = True) -> Any:
            posterior = encode(pixels).latent_dist
            drawn = posterior.mean + posterior.std * noise.control
            return _posterior_of(drawn)

        with self._encoding(encode_and_draw):
            image = pipeline(
                prompt=inputs.prompt,
                negative_prompt=inputs.negative_prompt,
                control_image=self._control_pixels(inputs.control_image),
                latents=noise.initial[None],
                max_sequence_length=self.options.t5_tokens,
                output_type="np",
                **self._settings,
            ).images
        return (255 * image[0]).round().astype(np.uint8)

    def front_modules(self) -> list[nn.Module]:
        """Text encoders and the VAE's encoder; before the second split the transformer and the ControlNet besides."""
        encoders = [self._vae.encoder, self._vae.quant_conv]
        modules = [*(self.component(name) for name in TEXT_ENCODERS), *(m for m in encoders if m is not None)]
        if self.options.mode == "latent":
            modules += [self.component("transformer"), self.component("controlnet")]
        return modules

    # ------------------------------------------------------------------------------------------------- responses

    def response(self, batch: Sequence[FeatureSet]) -> Tensor:
        """The levels of the images before they are rounded, 0 to 255, ``[B, height * width, 3]``.

        Gradients go through all denoising steps, each of which is computed once more for them.
        """
        return self._images(batch).flatten(1, 2)

    def response_lengths(self, batch: Sequence[FeatureSet]) -> list[int]:
        """The pixels of an image."""
        return [self.options.height * self.options.width] * len(batch)

    @torch.no_grad()
    def tail_and_response(self, batch: Sequence[FeatureSet]) -> tuple[list[Any], Tensor]:
        """Both from the same images."""
        if not batch or not self.tail_and_response_are_of(SD3ControlNetSplitModel):
            return super().tail_and_response(batch)
        images = self._images(batch)
        return _rounded(images), images.flatten(1, 2)

    # ------------------------------------------------------------------------------------------------- the encoders

    def _condition(self, inputs: ControlledPrompt) -> FeatureSet:
        texts = {"positive": inputs.prompt, "negative": inputs.negative_prompt}
        tensors: dict[str, Tensor] = {}
        for prompt in PROMPTS:
            encoded = [*self._clip(0, texts[prompt]), *self._clip(1, texts[prompt]), self._t5(texts[prompt])]
            tensors |= {f"{name}.{prompt}": tensor for name, tensor in zip(TEXT_FEATURES, encoded, strict=True)}
        # Both halves of the guidance see the same image; the pipeline encodes it twice, in one batch.
        pixels = self._control_pixels(inputs.control_image)
        moments = self._vae.encoder(torch.cat([pixels] * 2))
        if self._vae.quant_conv is not None:  # the published models have none
            moments = self._vae.quant_conv(moments)
        tensors |= zip(CONTROL_FEATURES, moments, strict=True)
        return FeatureSet({name: tensor.cpu() for name, tensor in tensors.items()}, self._side(inputs))

    def _side(self, inputs: ControlledPrompt) -> dict[str, int]:
        return {"seed": inputs.seed} | ({"position": inputs.position} if self.options.noise == "published" else {})

    def _clip(self, which: int, text: str) -> tuple[Tensor, Tensor]:
        """Pooled projection and penultimate hidden states of one of the two CLIP encoders."""
        # The pipeline pads both to the length that the first tokenizer states.
        ids = _token_ids(self.component(TOKENIZERS[which]), text, self.component(TOKENIZERS[0]).model_max_length)
        output = self.component(TEXT_ENCODERS[which])(ids.to(self.device), output_hidden_states=True)
        return output.text_embeds[0], output.hidden_states[-2][0]

    def _t5(self, text: str) -> Tensor:
        ids = _token_ids(self.component(TOKENIZERS[2]), text, self.options.t5_tokens)
        hidden: Tensor = self.component(TEXT_ENCODERS[2])(ids.to(self.device)).last_hidden_state
        return hidden[0]

    def _control_pixels(self, image: np.ndarray) -> Tensor:
        """The VAE encoder's input, ``[1, 3, height, width]``."""
        pixels = to_unit_pixels(image, (self.options.height, self.options.width))
        scaled = self.options.control_gain * pixels + self.options.control_offset
        return scaled[None].to(self.device, self.options.dtype)

    # ---------------------------------------------------------------------------------- denoising and the decoder

    def _images(self, batch: Sequence[FeatureSet]) -> Tensor:
        """The levels that each set of features comes to, 0 to 255, ``[B, height, width, 3]``."""
        if self.options.mode == "condition":
            latents = self._latents(batch)
        else:
            given = [features["latent"] for features in batch]
            self._check_shape("latent", given, (self._channels, *self._latent_size))
            latents = torch.stack(given).to(self.device, self.options.dtype)
        config = self._vae.config
        images = self._vae.decode(latents / config.scaling_factor + config.shift_factor).sample
        levels: Tensor = 255 * (images / 2 + 0.5).clamp(0, 1)
        return levels.permute(0, 2, 3, 1)

    def _latents(self, batch: Sequence[FeatureSet]) -> Tensor:
        """What the denoising loop makes of each set of condition features, ``[B, L, h, w]``."""
        positive, negative = (self._joined(batch, prompt) for prompt in PROMPTS)
        noises = [self._noise(features.side) for features in batch]
        control = self._control_latents(batch, torch.stack([noise.control for noise in noises], dim=1))
        pipeline = self._tail_pipeline
        run = inspect.unwrap(type(pipeline).__call__)  # which switches no gradients off: the caller decides on them
        with self._encoding(lambda pixels, return_dict=True: _posterior_of(control)), self._recomputing():
            latents: Tensor = run(
                pipeline,
                prompt_embeds=positive[0],
                pooled_prompt_embeds=positive[1],
                negative_prompt_embeds=negative[0],
                negative_pooled_prompt_embeds=negative[1],
                # Only its size is looked at.
                control_image=control.new_zeros(()).expand(len(batch), 3, self.options.height, self.options.width),
                latents=torch.stack([noise.initial for noise in noises]),
                output_type="latent",
                **self._settings,
            ).images
        return latents

    def _joined(self, batch: Sequence[FeatureSet], prompt: str) -> tuple[Tensor, Tensor]:
        """A prompt's embeddings ``[B, T, C]`` and pooled embeddings ``[B, P]``, as the transformer takes them."""

        def stacked(name: str) -> Tensor:
            tensors = [features[f"{name}.{prompt}"] for features in batch]
            self._check_shape(name, tensors, tuple(tensors[0].shape))
            return torch.stack(tensors).to(self.device, self.options.dtype)

        hidden = joined_text(stacked("clip_l.hidden"), stacked("clip_g.hidden"), stacked("t5.hidden"))
        return hidden, torch.cat([stacked("clip_l.pooled"), stacked("clip_g.pooled")], dim=-1)

    def _control_latents(self, batch: Sequence[FeatureSet], noise: Tensor) -> Tensor:
        """Draws of the control image's latents, the negative half's before the positive one's, ``[2 B, L, h, w]``.

        Args:
            batch: the features.
            noise: ``[2, B, L, h, w]``.
        """
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

        moments = [features[name] for name in CONTROL_FEATURES for features in batch]
        self._check_shape("vae_encoder", moments, (2 * self._channels, *self._latent_size))
        parameters = torch.stack(moments).to(self.device, self.options.dtype)
        posterior = DiagonalGaussianDistribution(parameters)
        return posterior.mean + posterior.std * noise.flatten(0, 1)

    def _noise(self, side: Mapping[str, int]) -> _Noise:
        source = torch.Generator().manual_seed(side["seed"])
        shape = (self._channels, *self._latent_size)
        if self.options.noise == "published":
            initial = torch.randn(shape, generator=source, dtype=self.options.dtype)
            control = self._shared_noise(side, shape)
        else:
            initial, control = torch.randn(shape, generator=source), torch.randn((2, *shape), generator=source)
        return _Noise(initial.to(self.device, self.options.dtype), control.to(self.device, self.options.dtype))

    def _shared_noise(self, side: Mapping[str, int], shape: tuple[int, ...]) -> Tensor:
        """The draw at a sample's place from the generator that all samples share, ``[2, L, h, w]``."""
        if "position" not in side:
            raise ScenarioError(
                "option noise is 'published', which draws by the sample's place in the run: declare side information "
                "'position' beside 'seed'"
            )
        source = torch.Generator(self.device).manual_seed(side["seed"])
        settings: dict[str, Any] = {"generator": source, "device": self.device, "dtype": self.options.dtype}
        for _ in range(side["position"]):
            torch.randn((2, *shape), **settings)
        return torch.randn((2, *shape), **settings)

    def _check_shape(self, name: str, tensors: Sequence[Tensor], expected: tuple[int, ...]) -> None:
        for tensor in tensors:
            if tuple(tensor.shape) != expected:
                raise ScenarioError(f"feature {name!r} has shape {list(tensor.shape)}; it should be {list(expected)}")

    @property
    def _vae(self) -> Any:
        return self.component("vae")

    @property
    def _channels(self) -> int:
        channels: int = self._vae.config.latent_channels
        return channels

    @property
    def _latent_size(self) -> tuple[int, int]:
        factor = 2 ** (len(self._vae.config.block_out_channels) - 1)
        return self.options.height // factor, self.options.width // factor

    @property
    def _settings(self) -> dict[str, Any]:
        """What a run of the tail and of the full pipeline have in common."""
        names = ("height", "width", "num_inference_steps", "guidance_scale", "controlnet_conditioning_scale")
        return {name: getattr(self.options, name) for name in names}

    def _pipeline(self, *encoders: str) -> Any:
        """The pipeline of diffusers, with what stands behind the encoders and with the components named."""
        with without_remarks():  # image processors remark on torchvision, and none of them is used
            from diffusers import StableDiffusion3ControlNetPipeline

        absent = dict.fromkeys((*TEXT_ENCODERS, *TOKENIZERS))
        parts = {name: self.component(name) for name in ("transformer", "controlnet", "scheduler", "vae", *encoders)}
        pipeline: Any = StableDiffusion3ControlNetPipeline(**(absent | parts))
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @cached_property
    def _tail_pipeline(self) -> Any:
        return self._pipeline()

    @contextlib.contextmanager
    def _encoding(self, encode: Callable[..., Any]) -> Iterator[None]:
        """The VAE with another ``encode``, because the pipeline takes control images only, not their latents."""
        self._vae.encode = encode
        try:
            yield
        finally:
            del self._vae.encode  # the class's own is seen again

    @contextlib.contextmanager
    def _recomputing(self) -> Iterator[None]:
        """Denoising networks that keep nothing of a step but its inputs, where gradients are on."""
        networks = [self.component(name) for name in ("transformer", "controlnet")] if torch.is_grad_enabled() else []
        try:
            for network in networks:
                network.forward = functools.partial(checkpoint, network.forward, use_reentrant=False)
            yield
        finally:
            for network in networks:
                del network.forward


def _rounded(images: Tensor) -> list[np.ndarray]:
    """Images of levels ``[B, height, width, 3]`` as uint8."""
    return list(images.round().to(torch.uint8).cpu().numpy())


def joined_text(clip_l: Tensor, clip_g: Tensor, t5: Tensor) -> Tensor:
    """The prompt as the transformer attends to it: CLIP's states side by side and padded with zeros, then T5's.

    Args:
        clip_l: ``[B, T, C1]``.
        clip_g: ``[B, T, C2]``.
        t5: ``[B, U, C]``, where C is at least C1 + C2.

    Returns:
        ``[B, T + U, C]``.
    """
    clip = torch.cat([clip_l, clip_g], dim=-1)
    return torch.cat([functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1])), t5], dim=-2)


def _token_ids(tokenizer: Any, text: str, length: int) -> Tensor:
    """``[1, length]``, padded or cut."""
    ids: Tensor = tokenizer(
        text, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def _posterior_of(drawn: Tensor) -> Any:
    """What stands for a VAE's output where only a draw of it is asked for."""
    return SimpleNamespace(latent_dist=SimpleNamespace(sample=lambda generator=None: drawn))


def _loader(scenario: Scenario, directory: Path | None, options: SD3Options) -> Callable[[str], Any]:
    """Loads a component of a folder in the pipelines' layout, or of the Hub, where the ControlNet has its own place."""

    def load(name: str) -> Any:
        import diffusers
        import transformers

        classes = {
            "text_encoder": transformers.CLIPTextModelWithProjection,
            "text_encoder_2": transformers.CLIPTextModelWithProjection,
            "text_encoder_3": transformers.T5EncoderModel,
            "vae": diffusers.AutoencoderKL,
            "transformer": diffusers.SD3Transformer2DModel,
            "controlnet": diffusers.SD3ControlNetModel,
        }
        if name in TOKENIZERS:
            return load_tokenizer(scenario, directory, subfolder=name)
        if name == "scheduler":
            return load_settings(diffusers.FlowMatchEulerDiscreteScheduler, scenario, directory, subfolder=name)
        source, folder = scenario, name
        if name == "controlnet":
            folder = options.controlnet if directory is not None else ""
            place = {"source": options.controlnet, "revision": options.controlnet_revision}
            source = scenario.model_copy(update={"backbone": scenario.backbone.model_copy(update=place)})
        return load_pretrained(classes[name], source, directory, options.dtype, subfolder=folder)

    return load
