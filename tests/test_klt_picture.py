"""The picture of the page on transform coding is drawn from measured variances."""

import numpy as np
import pytest
from klt_picture import WAYS, draw, rate_distortion


def test_bits_and_errors_are_those_of_reverse_water_filling():
    variances = np.array([4.0, 1.0, 0.25])
    bits, error = rate_distortion(variances, 5.25, np.array([4.0, 1.0, 0.25]))
    assert bits.tolist() == pytest.approx([0.0, 1 / 3, 1.0])
    assert error.tolist() == pytest.approx([1.0, 2.25 / 5.25, 0.75 / 5.25])


def test_it_is_drawn_the_same_each_time(tmp_path):
    found = {name: np.geomspace(10.0**power, 1e-4, 50) for power, name in enumerate(WAYS)}
    pictures = []
    for name in ("one.png", "other.png"):
        draw(found, tmp_path / name)
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1] and pictures[0].startswith(b"\x89PNG")
