"""Trains the Qwen3 decoder of the arithmetic word problems."""

from __future__ import annotations

import argparse

from dataset_builders.mini.language._arithmetic_training import MAX_NEW_TOKENS, train_arithmetic
from dataset_builders.mini.language._language_training import make_qwen3

MODEL_NAME = "arithmetic-qwen3"
STEPS = 1500


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores and exports the decoder; see `dataset_builders.mini.train` for the arguments."""
    train_arithmetic(arguments, MODEL_NAME, lambda tokenizer: make_qwen3(tokenizer, MAX_NEW_TOKENS))
