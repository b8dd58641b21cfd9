"""Trains models of the mini edition: `python -m dataset_builders.mini.train MODEL...` or `--all`.

A model's training is the module `_train_<model>.py` of its domain's package, so a new one is a new file. A run that was
stopped goes on from its checkpoint, and ends with the bits of one that was not.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import dataset_builders.mini as mini
from lamofcbench.errors import UnknownNameError

PREFIX = "_train_"


def training_modules() -> dict[str, str]:
    """Returns each model's name, such as `digits-vit`, and the full name of the module that trains it, sorted."""
    packages = [info.name for info in pkgutil.iter_modules(mini.__path__) if info.ispkg]
    found = {}
    for package in packages:
        folder = [str(Path(path) / package) for path in mini.__path__]
        for info in pkgutil.iter_modules(folder):
            if info.name.startswith(PREFIX):
                model = info.name.removeprefix(PREFIX).replace("_", "-")
                found[model] = f"{mini.__name__}.{package}.{info.name}"
    return dict(sorted(found.items()))


def parse_arguments(models: dict[str, str], arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the flags: which models, where to write, how to resume, seed, steps, threads.

    Args:
        models: what `training_modules` found.
        arguments: command-line arguments; None for the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m dataset_builders.mini.train", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(models))
    parser.add_argument("--all", action="store_true", help="train every model, in the order of their names")
    parser.add_argument("--output", type=Path, help="folder for the trained models (default: the package's weights)")
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"), help="folder to resume from")
    parser.add_argument("--seed", type=int, default=1, help="seeds weights and data")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: the model's own number)")
    parser.add_argument("--threads", type=int, default=1, help="torch's CPU threads")
    parsed = parser.parse_args(arguments)
    if parsed.all == bool(parsed.models):
        parser.error("name the models to train, or --all")
    for model in parsed.models:
        if model not in models:
            parser.error(str(UnknownNameError("model", model, models)))
    if parsed.all:
        parsed.models = list(models)
    return parsed


def model_arguments(parsed: argparse.Namespace, model: str, module: ModuleType) -> argparse.Namespace:
    """Returns what a module's `train` takes: output, checkpoints, seed, steps and threads."""
    from dataset_builders.mini._files import WEIGHTS

    return argparse.Namespace(
        output=(parsed.output or WEIGHTS) / model,
        checkpoints=parsed.checkpoints,
        seed=parsed.seed,
        steps=parsed.steps if parsed.steps is not None else module.STEPS,
        threads=parsed.threads,
    )


def main(arguments: list[str] | None = None) -> None:
    """Trains the named models one after the other."""
    models = training_modules()
    parsed = parse_arguments(models, arguments)
    for model in parsed.models:
        module = importlib.import_module(models[model])
        module.train(model_arguments(parsed, model, module))


if __name__ == "__main__":
    main()
