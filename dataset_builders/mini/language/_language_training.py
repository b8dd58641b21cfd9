"""What the trainings of the language models share: batches, the loss on answers, generation, the run; the Qwen3."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from dataset_builders.mini import _rescaling as rescaling
from dataset_builders.mini import _training as training
from dataset_builders.mini._files import replace_files
from dataset_builders.mini.language.choices_question import Split

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast, Qwen3ForCausalLM

IGNORED = -100

# Prompts, and the texts to be written after them.
Batch = Sequence[tuple[str, str]]
# Takes a model, ids and labels, int64 [B, T]; returns a scalar.
Loss = Callable[[Any, Tensor, Tensor], Tensor]


def make_qwen3(
    tokenizer: PreTrainedTokenizerFast, max_new_tokens: int, layers: int = 8, hidden: int = 128, heads: int = 4
) -> Qwen3ForCausalLM:
    """Returns a decoder with random weights; the split stands after layer 4 of its 8."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        head_dim=32,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        # The default of 0.02 is meant for wide models; at this width it slows the start.
        initializer_range=0.05,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = generation_settings(tokenizer, max_new_tokens)
    return model


def generation_settings(tokenizer: PreTrainedTokenizerFast, max_new_tokens: int) -> GenerationConfig:
    """Returns greedy generation up to a limit, with the tokenizer's special tokens."""
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def encode(tokenizer: PreTrainedTokenizerFast, batch: Batch) -> tuple[Tensor, Tensor]:
    """Returns token ids and labels, int64 [B, T], padded on the right.

    A label is the id of the same position, or -100 outside the text and its `<eos>`.

    Args:
        tokenizer: prepends `<bos>`.
        batch: prompts, and the texts to be written after them.
    """
    prompts = [tokenizer(prompt).input_ids for prompt, _ in batch]
    answers = [[*tokenizer(text).input_ids[1:], tokenizer.eos_token_id] for _, text in batch]
    length = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    ids = torch.full((len(batch), length), tokenizer.pad_token_id)
    labels = torch.full((len(batch), length), IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


def answer_loss(model: PreTrainedModel, ids: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean cross-entropy of the texts' tokens, a scalar; logits are made for these tokens alone.

    Padding stands on the right, where a causal model does not see it, so no mask is needed.
    """
    decoder: Any = model.base_model
    hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != IGNORED
    return functional.cross_entropy(model.get_output_embeddings()(hidden[wanted]), labels[:, 1:][wanted])


@torch.no_grad()
def generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], batch_size: int = 64
) -> list[str]:
    """Returns the texts that the model writes after the prompts, by batched greedy decoding."""
    model.eval()
    generator: Any = model
    texts: list[str] = []
    for start in range(0, len(prompts), batch_size):
        batch = tokenizer(list(prompts[start : start + batch_size]), padding=True, return_tensors="pt")
        batch.pop("token_type_ids", None)
        tokens = generator.generate(**batch)
        texts += tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, output: Path) -> None:
    """Writes the model in fp16, its generation settings and the tokenizer to a folder."""
    training.export_model(model, output)
    with replace_files(output) as temporary:
        tokenizer.save_pretrained(temporary)


def train_decoder(
    arguments: argparse.Namespace,
    plan: training.TrainingPlan,
    tokenizer: PreTrainedTokenizerFast,
    make_model: Callable[[PreTrainedTokenizerFast], PreTrainedModel],
    *,
    batches: Callable[[int], Sequence[Batch]],
    score: Callable[[PreTrainedModel, PreTrainedTokenizerFast, Split], Any],
    loss: Loss = answer_loss,
    checkpoint_every: int = 200,
    results: Mapping[str, Any],
) -> None:
    """Trains, scores and exports a decoder, and writes its record.

    Args:
        arguments: see `dataset_builders.mini.train`.
        plan: the run's settings.
        tokenizer: what is trained with, and exported.
        make_model: returns the model with random weights and generation settings.
        batches: returns a step's batches, whose losses are averaged.
        score: returns the score, or the scores by task, on a split's questions.
        loss: of a batch.
        checkpoint_every: steps between checkpoints, at which the calibration split is scored.
        results: what the record is to hold besides scores: chance, baselines.
    """
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    training.seed_everything(plan)
    model = make_model(tokenizer)

    def loss_of_step(step: int) -> Tensor:
        return torch.stack([loss(model, *encode(tokenizer, batch)) for batch in batches(step)]).mean()

    def report(progress: training.Progress) -> None:
        print(
            f"\nstep {progress.step}: exact match on calibration {score(model, tokenizer, 'calibration')}", flush=True
        )

    trainer = training.Trainer(model, plan, loss_of_step, arguments.checkpoints)
    progress = trainer.run(checkpoint_every=checkpoint_every, on_checkpoint=report)
    trainer.use_average()
    before = score(model, tokenizer, "test")
    decoder: Any = model.base_model
    rescaling.spread_decoder(decoder.layers, plan.name)
    export(model, tokenizer, arguments.output)
    stored = AutoModelForCausalLM.from_pretrained(arguments.output, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.output)
    scores = {
        "parameters": model.num_parameters(),
        "train_accuracy": score(stored, tokenizer, "training"),
        "calibration_accuracy": score(stored, tokenizer, "calibration"),
        "held_out_accuracy_before_fp16": before,
        "held_out_accuracy": score(stored, tokenizer, "test"),
        **results,
    }
    training.write_record(arguments.output / "training.json", plan, progress, scores)
