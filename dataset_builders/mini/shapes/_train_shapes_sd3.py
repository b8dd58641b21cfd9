"""Trains the small Stable Diffusion 3.5 pipeline that draws captioned shapes along edges.

Three stages, each with a checkpoint of its own: the VAE on pictures and edges; the transformer together with the three
text encoders, by flow matching with captions dropped now and then; the ControlNet together with them. A ControlNet is
usually trained with all else frozen; beside so small a transformer it would take far longer to learn that way.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dataset_builders.mini import _training as training
from dataset_builders.mini._files import replace_files, write_json
from dataset_builders.mini.shapes import _components as components
from dataset_builders.mini.shapes._pictures import first_scenes, picture_tensors, to_input
from dataset_builders.mini.shapes._scoring import scores
from dataset_builders.mini.shapes.features import ATTRIBUTES
from lamofcbench.models.sd3 import joined_text

MODEL_NAME = "shapes-sd3"
STEPS = 2000  # of the VAE and of the transformer each; the ControlNet takes twice as many
PICTURES = 8000
VAE_BATCH, BATCH = 8, 48
DIVERGENCE_WEIGHT = 2e-4
SCORED = 200
CAPTION_DROPOUT = 0.1
SCHEDULE_SHIFT = 1.0
SETTINGS_ONLY = ("tokenizer", "tokenizer_2", "tokenizer_3", "scheduler")


@dataclass(frozen=True)
class Latents:
    """What the VAE's encoder makes of images: means and standard deviations, float32 ``[N, 16, 8, 8]`` each."""

    mean: Tensor
    deviation: Tensor

    def sample(self, chosen: Tensor, source: torch.Generator) -> Tensor:
        """A draw for each of the chosen images."""
        mean, deviation = self.mean[chosen], self.deviation[chosen]
        return mean + deviation * torch.randn(mean.shape, generator=source)


@dataclass(frozen=True)
class TokenIds:
    """Captions as the two kinds of tokenizers write them, int64 ``[N, 12]`` each; the last caption is empty."""

    clip: Tensor
    t5: Tensor


class TextToImage(nn.Module):
    """The transformer and its text encoders, which are trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.clip_tokenizer, self.t5_tokenizer = components.make_clip_tokenizer(), components.make_t5_tokenizer()
        self.text_encoder = components.make_clip(self.clip_tokenizer, components.CLIP_L_WIDTH)
        self.text_encoder_2 = components.make_clip(self.clip_tokenizer, components.CLIP_G_WIDTH)
        self.text_encoder_3 = components.make_t5(self.t5_tokenizer)
        self.transformer = components.make_transformer()

    def tokens(self, captions: Sequence[str]) -> TokenIds:
        """The captions' tokens, and behind them those of the empty caption."""
        keywords: dict[str, Any] = {
            "padding": "max_length",
            "max_length": components.TEXT_TOKENS,
            "truncation": True,
            "return_tensors": "pt",
        }
        texts = [*captions, ""]
        return TokenIds(
            self.clip_tokenizer(texts, **keywords).input_ids, self.t5_tokenizer(texts, **keywords).input_ids
        )

    def text(self, ids: TokenIds, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen captions' embeddings, ``[B, 24, 96]``, and their pooled form, ``[B, 80]``."""
        small = self.text_encoder(ids.clip[chosen], output_hidden_states=True)
        large = self.text_encoder_2(ids.clip[chosen], output_hidden_states=True)
        t5 = self.text_encoder_3(ids.t5[chosen]).last_hidden_state
        hidden = joined_text(small.hidden_states[-2], large.hidden_states[-2], t5)
        return hidden, torch.cat([small.text_embeds, large.text_embeds], dim=-1)


def vae_loss(vae: Any, images: Tensor, seed: int, step: int) -> Tensor:
    """Squared and absolute error of the reconstruction, and a little of the divergence from white noise."""
    source = training.torch_source(seed, step)
    chosen = torch.randint(len(images), (VAE_BATCH,), generator=source)
    pixels = to_input(images[chosen]).contiguous(memory_format=torch.channels_last)
    posterior = vae.encode(pixels).latent_dist
    latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=source)
    divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    decoded = vae.decode(latents).sample
    # The absolute error alone would long be content with black for thin edges.
    error = functional.mse_loss(decoded, pixels) + 0.3 * functional.l1_loss(decoded, pixels)
    return error + DIVERGENCE_WEIGHT * divergence


@torch.no_grad()
def encode(vae: Any, images: Tensor) -> Latents:
    """The latents of images, unscaled."""
    posteriors = [vae.encode(to_input(part)).latent_dist for part in images.split(100)]
    return Latents(torch.cat([p.mean for p in posteriors]), torch.cat([p.std for p in posteriors]))


class FlowLoss:
    """The flow-matching loss of a step, with or without a ControlNet.

    Args:
        model: transformer and text encoders.
        vae: whose configuration scales the latents.
        pictures: the pictures' latents.
        captions: the pictures' captions.
        seed: seeds each step's draws together with its number.
    """

    def __init__(self, model: TextToImage, vae: Any, pictures: Latents, captions: Sequence[str], seed: int) -> None:
        self.model, self.config, self.pictures, self.seed = model, vae.config, pictures, seed
        unique = sorted(set(captions))
        self.ids = model.tokens(unique)
        self.empty = len(unique)
        self.captions = torch.tensor([unique.index(caption) for caption in captions])

    def __call__(self, step: int) -> Tensor:
        """The loss of a step, a scalar."""
        return self.with_control(step)

    def with_control(self, step: int, controlnet: Any = None, edges: Latents | None = None) -> Tensor:
        """The loss of a step, the pictures' edges shown to the ControlNet."""
        config = self.config
        source = training.torch_source(self.seed, step)
        chosen = torch.randint(len(self.captions), (BATCH,), generator=source)
        clean = (self.pictures.sample(chosen, source) - config.shift_factor) * config.scaling_factor
        noise = torch.randn(clean.shape, generator=source)
        level = torch.sigmoid(torch.randn(BATCH, generator=source))
        noisy = torch.lerp(clean, noise, level.view(-1, 1, 1, 1))
        dropped = torch.rand(BATCH, generator=source) < CAPTION_DROPOUT
        hidden, pooled = self.model.text(self.ids, self.captions[chosen].masked_fill(dropped, self.empty))
        timestep = 1000 * level
        residuals = None
        if controlnet is not None and edges is not None:
            residuals = controlnet(
                hidden_states=self.model.transformer.pos_embed(noisy),
                controlnet_cond=edges.sample(chosen, source) * config.scaling_factor,
                pooled_projections=torch.zeros_like(pooled),
                timestep=timestep,
            ).controlnet_block_samples
        predicted = self.model.transformer(
            hidden_states=noisy,
            timestep=timestep,
            encoder_hidden_states=hidden,
            pooled_projections=pooled,
            block_controlnet_hidden_states=residuals,
        ).sample
        return functional.mse_loss(predicted, noise - clean)


def train(arguments: argparse.Namespace) -> None:
    """Trains the stages one after the other, exports the pipeline and scores it.

    Args:
        arguments: output, checkpoints, seed, steps (of the transformer) and threads.
    """

    def plan(stage: str, steps: int, learning_rate: float) -> training.TrainingPlan:
        name = f"{MODEL_NAME}-{stage}"
        return training.TrainingPlan(
            name, arguments.seed, steps, learning_rate, weight_decay=0.01, threads=arguments.threads
        )

    chosen = first_scenes("training", PICTURES)
    pictures, edges = picture_tensors(chosen)

    vae_plan = plan("vae", arguments.steps, 2e-3)
    training.seed_everything(vae_plan)
    vae = components.make_vae().to(memory_format=torch.channels_last)
    both = torch.cat([pictures, edges])
    trainer = training.Trainer(
        vae, vae_plan, lambda step: vae_loss(vae, both, vae_plan.seed, step), arguments.checkpoints
    )
    progress = trainer.run()
    trainer.use_average()
    picture_latents, edge_latents = encode(vae, pictures), encode(vae, edges)
    vae.register_to_config(
        shift_factor=round(float(picture_latents.mean.mean()), 4),
        scaling_factor=round(1 / float(picture_latents.mean.std()), 4),
    )

    joint_plan = plan("transformer", arguments.steps, 1.5e-3)
    training.seed_everything(joint_plan)
    model = TextToImage()
    loss = FlowLoss(model, vae, picture_latents, [scene.caption for scene in chosen], joint_plan.seed)
    trainer = training.Trainer(model, joint_plan, loss, arguments.checkpoints)
    joint_progress = trainer.run()
    trainer.use_average()

    control_plan = plan("controlnet", 2 * arguments.steps, 1.5e-3)
    training.seed_everything(control_plan)
    controlnet = components.make_controlnet()
    trainer = training.Trainer(
        nn.ModuleDict({"text_to_image": model, "controlnet": controlnet}),
        control_plan,
        lambda step: loss.with_control(step, controlnet, edge_latents),
        arguments.checkpoints,
    )
    control_progress = trainer.run()
    trainer.use_average()
    export(arguments.output, vae, model, controlnet)

    found = scores(arguments.output, "test", SCORED)
    parts = {"vae": vae, "text_encoders_and_transformer": model, "controlnet": controlnet}
    stages = {"vae": progress, "transformer": joint_progress, "controlnet": control_progress}
    results = {
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        "minutes": round(sum(stage.seconds for stage in stages.values()) / 60, 1),
        "minutes_of_stages": {name: round(stage.seconds / 60, 1) for name, stage in stages.items()},
        "loss_of_stages": {name: round(stage.loss, 5) for name, stage in stages.items()},
        "train_accuracy": scores(arguments.output, "training", SCORED // 2)["all"],
        "calibration_accuracy": scores(arguments.output, "calibration", SCORED // 2)["all"],
        "held_out_accuracy": found["all"],
        **{f"held_out_{name}": value for name, value in found.items() if name != "all"},
        "diffusers": metadata.version("diffusers"),
        "chance_accuracy": {name: 1 / len(values) for name, values in ATTRIBUTES.items()},
    }
    described = dataclasses.replace(joint_plan, name=MODEL_NAME)
    training.write_record(arguments.output / "training.json", described, joint_progress, results)


def export(output: Path, vae: Any, model: TextToImage, controlnet: Any) -> None:
    """Writes the pipeline in the layout of diffusers, tensors in fp16."""
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3ControlNetPipeline

    parts: dict[str, Any] = {
        "vae": vae,
        "text_encoder": model.text_encoder,
        "text_encoder_2": model.text_encoder_2,
        "text_encoder_3": model.text_encoder_3,
        "tokenizer": model.clip_tokenizer,
        "tokenizer_2": model.clip_tokenizer,
        "tokenizer_3": model.t5_tokenizer,
        "transformer": model.transformer,
        "controlnet": controlnet,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=SCHEDULE_SHIFT),
    }
    for name, part in parts.items():
        if name not in SETTINGS_ONLY:
            training.export_model(part, output / name)
        else:
            with replace_files(output / name) as temporary:
                part.save_pretrained(temporary)
    index = {name: [type(part).__module__.split(".")[0], type(part).__name__] for name, part in parts.items()}
    version = metadata.version("diffusers")
    name = StableDiffusion3ControlNetPipeline.__name__
    write_json(output / "model_index.json", {"_class_name": name, "_diffusers_version": version, **index})
