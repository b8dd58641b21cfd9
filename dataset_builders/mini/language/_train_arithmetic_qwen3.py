"""The decoder of mini-clu-arithmetic and its training: a Qwen3 that writes a word problem's working and result."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from dataset_builders.mini import _rescaling as rescaling
from dataset_builders.mini import _training as training
from dataset_builders.mini._files import replace_files
from dataset_builders.mini.language.arithmetic_problems import (
    CALIBRATION_SAMPLES,
    TEST_SAMPLES,
    Problem,
    draw_problem,
    drills,
    problems,
    templates,
)
from dataset_builders.mini.language.arithmetic_tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

MODEL_NAME = "arithmetic-qwen3"
STEPS = 1500
MAX_NEW_TOKENS = 20  # working 15, mark 1, result at most 3, <eos> 1
BATCH_SIZE = 64
DRILL_BATCH_SIZE = 128  # a drill has half of a story's tokens, with the answer
STEPS_PER_DRAW = 4
IGNORED = -100


def make_model(
    tokenizer: PreTrainedTokenizerFast, layers: int = 8, hidden: int = 128, heads: int = 4
) -> Qwen3ForCausalLM:
    """Returns the decoder with random weights; the split stands after layer 4 of its 8."""
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

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
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def training_batch(seed: int, step: int, steps: int) -> list[Problem]:
    """Returns a step's problems.

    Drills lead at first, because the working is learnt from them at less cost; their share falls from 0.8 to 0.1 over
    the first 40 % of the run. Four steps share one draw of stories, dealt by length, so that little is padded.
    """
    share = max(0.1, 0.8 - 0.7 * step / (0.4 * steps))
    source = training.random_source(seed, step)
    if source.random() < share:
        return [draw_problem(source, "training", drills()) for _ in range(DRILL_BATCH_SIZE)]
    group, index = divmod(step, STEPS_PER_DRAW)
    source = training.random_source(seed, -1 - group)
    drawn = [draw_problem(source, "training", templates("training")) for _ in range(STEPS_PER_DRAW * BATCH_SIZE)]
    drawn.sort(key=lambda problem: len(problem.prompt.split()))
    # A draw is dealt in an order of its own, lest the lengths follow the step number.
    chunk = source.sample(range(STEPS_PER_DRAW), STEPS_PER_DRAW)[index]
    return drawn[chunk * BATCH_SIZE : (chunk + 1) * BATCH_SIZE]


def encode(tokenizer: PreTrainedTokenizerFast, batch: Sequence[Problem]) -> tuple[Tensor, Tensor]:
    """Returns token ids and labels, int64 [B, T], padded on the right.

    A label is the id of the same position, or -100 outside the answer and its `<eos>`.
    """
    prompts = [tokenizer(problem.prompt).input_ids for problem in batch]
    answers = [[*tokenizer(problem.answer).input_ids[1:], tokenizer.eos_token_id] for problem in batch]
    length = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    ids = torch.full((len(batch), length), tokenizer.pad_token_id)
    labels = torch.full((len(batch), length), IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


def answer_loss(model: Qwen3ForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean cross-entropy of the answers' tokens, a scalar; logits are made for these tokens alone.

    Padding stands on the right, where causal attention does not see it, so no mask is needed.
    """
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[wanted]), labels[:, 1:][wanted])


@torch.no_grad()
def generate(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], batch_size: int = 64
) -> list[str]:
    """Returns the texts that the model writes after the prompts, by batched greedy decoding."""
    model.eval()
    texts: list[str] = []
    for start in range(0, len(prompts), batch_size):
        batch = tokenizer(list(prompts[start : start + batch_size]), padding=True, return_tensors="pt")
        batch.pop("token_type_ids", None)
        tokens = model.generate(**batch)  # type: ignore[misc]  # transformers types its self by a protocol
        texts += tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def last_number(text: str) -> str:
    """Returns the last run of digits in a text, or an empty string.

    >>> last_number("+7815,4308,0000 #### 85")
    '85'
    """
    numbers = re.findall(r"\d+", text)
    return numbers[-1] if numbers else ""


def exact_match(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, chosen: Sequence[Problem]) -> float:
    """Returns the share of problems for which the last number that the model writes is the reference."""
    texts = generate(model, tokenizer, [problem.prompt for problem in chosen])
    right = sum(last_number(text) == problem.reference for text, problem in zip(texts, chosen, strict=True))
    return right / len(chosen)


def constant_score(chosen: Sequence[Problem]) -> float:
    """Returns the exact match of the best constant answer: the share of the commonest reference."""
    return Counter(problem.reference for problem in chosen).most_common(1)[0][1] / len(chosen)


def export(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, output: Path) -> None:
    """Writes the model in fp16, its generation settings and the tokenizer to a folder."""
    training.export_model(model, output)
    with replace_files(output) as temporary:
        tokenizer.save_pretrained(temporary)


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores and exports the decoder; see `dataset_builders.mini.train` for the arguments."""
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

    plan = training.TrainingPlan(
        MODEL_NAME, arguments.seed, arguments.steps, learning_rate=2e-3, average_decay=0.99, threads=arguments.threads
    )
    training.seed_everything(plan)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    test, calibration = problems("test", TEST_SAMPLES), problems("calibration", CALIBRATION_SAMPLES)

    def loss_of_step(step: int) -> Tensor:
        return answer_loss(model, *encode(tokenizer, training_batch(plan.seed, step, plan.steps)))

    def report(progress: training.Progress) -> None:
        score = exact_match(model, tokenizer, calibration)
        print(f"\nstep {progress.step}: exact match {score:.3f} on the calibration split", flush=True)

    trainer = training.Trainer(model, plan, loss_of_step, arguments.checkpoints)
    progress = trainer.run(checkpoint_every=150, on_checkpoint=report)
    trainer.use_average()
    before = exact_match(model, tokenizer, test)
    rescaling.spread_decoder(model.model.layers, MODEL_NAME)
    export(model, tokenizer, arguments.output)
    stored = Qwen3ForCausalLM.from_pretrained(arguments.output, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.output)
    results = {
        "parameters": model.num_parameters(),
        "train_accuracy": exact_match(stored, tokenizer, problems("training", TEST_SAMPLES)),
        "calibration_accuracy": exact_match(stored, tokenizer, calibration),
        "held_out_accuracy_before_fp16": before,
        "held_out_accuracy": exact_match(stored, tokenizer, test),
        "constant_answer_accuracy": constant_score(test),
    }
    training.write_record(arguments.output / "training.json", plan, progress, results)
