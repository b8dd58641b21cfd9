"""Trains the Qwen3 decoder of the multiple-choice tasks: one model for all four of them."""

from __future__ import annotations

import argparse

from dataset_builders.mini.language._choices_training import MAX_NEW_TOKENS, train_choices
from dataset_builders.mini.language._language_training import make_qwen3

MODEL_NAME = "choices-qwen3"
STEPS = 1800


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores and exports the decoder; see `dataset_builders.mini.train` for the arguments."""
    train_choices(arguments, MODEL_NAME, lambda tokenizer: make_qwen3(tokenizer, MAX_NEW_TOKENS))
