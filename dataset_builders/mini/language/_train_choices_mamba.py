"""Trains the Falcon-Mamba decoder of the multiple-choice tasks: one model for all four of them."""

from __future__ import annotations

import argparse

from dataset_builders.mini.language._choices_training import MAX_NEW_TOKENS, train_choices
from dataset_builders.mini.language._mamba_model import make_mamba
from dataset_builders.mini.language._mamba_scan import trainable_scan

MODEL_NAME = "choices-mamba"
STEPS = 1800


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores and exports the decoder; see `dataset_builders.mini.train` for the arguments."""
    with trainable_scan():
        train_choices(arguments, MODEL_NAME, lambda tokenizer: make_mamba(tokenizer, MAX_NEW_TOKENS))
