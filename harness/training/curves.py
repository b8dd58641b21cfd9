"""Training curves: a JSON lines file, a row for each validation, and a picture of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lamofcbench.atomic import replacing, write_text


def write_rows(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes the rows of a curve, whole or not at all."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def draw(path: Path, curves: Mapping[float, Sequence[Mapping[str, float]]]) -> None:
    """Draws loss, rate and error of training and validation over the steps, a line for each lambda.

    Args:
        path: a PNG file.
        curves: rows by lambda; see `harness.training.trainer.Trainer`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = (("loss", "loss"), ("bpp", "bits a plane element"), ("mse", "mean squared error of planes in [0, 1)"))
    for axes, (name, label) in zip(figure.subplots(1, 3), panels, strict=True):
        for number, (lmbda, rows) in enumerate(curves.items()):
            steps = [row["step"] for row in rows]
            colour = f"C{number}"
            axes.plot(steps, [row[name] for row in rows], color=colour, alpha=0.35, linewidth=0.8)
            axes.plot(steps, [row[f"validation_{name}"] for row in rows], color=colour, label=f"{lmbda:g}")
        axes.set(xlabel="step", ylabel=label, yscale="log")
        axes.grid(alpha=0.3)
    axes.legend(title="lambda (pale: training)")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
