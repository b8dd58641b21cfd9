"""What our selective scan saves: a Falcon-Mamba training step and a prefill, with the library's scan and with ours.

Both are run in turn on one thread, several times, and their medians are compared, as are losses and gradients.

    python benchmarks/mamba_scan.py
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from dataset_builders.mini.language._language_training import answer_loss
from dataset_builders.mini.language._mamba_model import make_mamba
from dataset_builders.mini.language._mamba_scan import trainable_scan
from dataset_builders.mini.language.arithmetic_tokenizer import make_tokenizer
from lamofcbench.models.selective_scan import library_scan_replaced

LARGEST_DIFFERENCE = 1e-4  # of a gradient, relative to its largest entry


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="samples (default 32)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each (default 64)")
    parser.add_argument("--states", type=int, default=8, help="states of each channel (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each (default 3)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = make_mamba(tokenizer, max_new_tokens=1, states=arguments.states)
    ids = torch.randint(4, len(tokenizer), (arguments.batch, arguments.tokens))

    def step() -> list[Tensor]:
        model.train()
        model.zero_grad()
        loss = answer_loss(model, ids, ids)
        loss.backward()
        return [loss.detach(), *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]

    @torch.no_grad()
    def prefill() -> list[Tensor]:
        model.eval()
        runner: Any = model
        return [runner(input_ids=ids, use_cache=False, logits_to_keep=1).logits]

    print(f"{arguments.batch} samples of {arguments.tokens} tokens, {arguments.states} states, one thread")
    print("                library s    ours s   faster by   largest difference")
    worst = max(
        compare("training step", step, trainable_scan, arguments.repeats),
        compare("prefill", prefill, library_scan_replaced, arguments.repeats),
    )
    passed = worst < LARGEST_DIFFERENCE
    print(f"{'pass' if passed else 'FAIL'}: results differ by {worst:.1e} of their largest entry at most")
    return 0 if passed else 1


def compare(
    name: str, run: Callable[[], list[Tensor]], ours: Callable[[], AbstractContextManager[None]], repeats: int
) -> float:
    """Prints the medians of both; returns the largest difference of a result, relative to its largest entry."""
    contexts: dict[str, Callable[[], AbstractContextManager[None]]] = {"library": contextlib.nullcontext, "ours": ours}
    seconds: dict[str, list[float]] = {kind: [] for kind in contexts}
    results: dict[str, list[Tensor]] = {}
    for _ in range(repeats):
        for kind, context in contexts.items():
            started = time.perf_counter()
            with context():
                found = run()
            seconds[kind].append(time.perf_counter() - started)
            results[kind] = [tensor.clone() for tensor in found]
    library, own = (statistics.median(seconds[kind]) for kind in contexts)
    difference = max(
        float((ours_ - theirs).abs().max() / theirs.abs().max())
        for ours_, theirs in zip(results["ours"], results["library"], strict=True)
    )
    print(f"{name:14s}  {library:9.2f}  {own:8.2f}  {library / own:9.1f}x   {difference:18.1e}")
    return difference


if __name__ == "__main__":
    sys.exit(main())
