"""Trains the Falcon-Mamba decoder of mini-clu-arithmetic-mamba, which writes a word problem's working and result."""

from __future__ import annotations

import argparse

from dataset_builders.mini.language._arithmetic_training import MAX_NEW_TOKENS, train_arithmetic
from dataset_builders.mini.language._mamba_model import make_mamba
from dataset_builders.mini.language._mamba_scan import trainable_scan

MODEL_NAME = "arithmetic-mamba"
STEPS = 1500
BATCH_SIZE = 32


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores and exports the decoder; see `dataset_builders.mini.train` for the arguments."""
    with trainable_scan():
        train_arithmetic(
            arguments, MODEL_NAME, lambda tokenizer: make_mamba(tokenizer, MAX_NEW_TOKENS), batch_size=BATCH_SIZE
        )
