"""Draws why tensors are coded together: ``docs/images/klt-spectra.png``, from calibration features of a mini scenario.

    python hub_cards/klt_picture.py [--scenario mini-clu-facts]

How far coefficients deviate that a transform was not fitted to, and what bits that costs at which error, for columns
as they are, for each tensor's own transform, and for one over all tensors that share a row. Variances say the bits:
reverse water-filling over independent Gaussian coefficients.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamofcbench.codecs.transform.fitting import fit_groups
from lamofcbench.codecs.transform.ingredients import Ingredients
from lamofcbench.codecs.transform.rows import row_groups
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.calibration import Calibration

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "klt-spectra.png"
WAYS = {
    "columns as they are": Ingredients(joined=False, unrotated=False, dictionary=False, transform=False),
    "each tensor's transform": Ingredients(joined=False, unrotated=False, dictionary=False),
    "one over all tensors, keys unrotated": Ingredients(dictionary=False),
}
COLOURS = ("#777777", "#0072B2", "#D55E00")  # Okabe and Ito's, told apart by colour-blind eyes
LINES = (":", "--", "-")

Wide = NDArray[np.float64]


def variances(scenario: str, ingredients: Ingredients) -> Wide:
    """Of the coefficients of a row over all tensors, largest first, in parts of the mean variance of their tensor."""
    known = SCENARIOS.get(scenario)
    found = []
    for fitted in fit_groups(row_groups(known.specs, ingredients), Calibration(known), None, ingredients=ingredients):
        coefficients = fitted.candidates[0]
        rows = np.bincount(np.concatenate(coefficients.profiles), minlength=len(coefficients.deviations))
        mean = np.average(np.square(coefficients.deviations), axis=0, weights=rows)
        found.append(mean)
    return np.sort(np.concatenate(found))[::-1]


def rate_distortion(of_each: Wide, whole: float, levels: Wide) -> tuple[Wide, Wide]:
    """Bits a value and normalised error at some water levels; ``whole`` is the energy that errors are parts of.

    Example:
        >>> bits, error = rate_distortion(np.array([4.0, 1.0]), 5.0, np.array([1.0, 4.0]))
        >>> bits.tolist(), error.tolist()
        ([0.5, 0.0], [0.4, 1.0])
    """
    bits = np.array([0.5 * np.log2(np.maximum(of_each / level, 1.0)).mean() for level in levels])
    return bits, np.array([np.minimum(of_each, level).sum() for level in levels]) / whole


def draw(found: dict[str, Wide], path: Path) -> None:
    """Spectra, and bits over errors, of some ways to transform."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    spectra, rates = figure.subplots(1, 2)
    whole = float(next(iter(found.values())).sum())
    for (name, of_each), colour, line in zip(found.items(), COLOURS, LINES, strict=True):
        spectra.loglog(np.arange(1, len(of_each) + 1), np.sqrt(of_each), line, color=colour, label=name)
        bits, error = rate_distortion(of_each, whole, np.geomspace(of_each[0], of_each[0] * 1e-7, 400))
        rates.semilogx(error, bits, line, color=colour, label=name)
    spectra.set(xlabel="coefficient of a row, largest first", ylabel="deviation", title="How far coefficients deviate")
    spectra.set_ylim(bottom=1e-3)
    rates.set(xlabel="squared error, in parts of that of the mean", ylabel="bits a value", title="What that costs")
    rates.set_xlim(1e-3, 1)
    rates.set_ylim(0, 4)
    for axes in (spectra, rates):
        axes.grid(alpha=0.3)
    rates.legend(frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Measures and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scenario", default="mini-clu-facts", help="whose calibration features (default: %(default)s)"
    )
    args = parser.parse_args()
    draw({name: variances(args.scenario, way) for name, way in WAYS.items()}, PICTURE)


if __name__ == "__main__":
    main()
