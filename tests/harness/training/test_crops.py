from collections import Counter

import numpy as np
import pytest

from harness.training.crops import CropSource
from lamofcbench.errors import DataError


def test_crops_of_a_step_depend_on_seed_and_step_alone(planes):
    first, again = (CropSource(planes, 64, 8, seed=3) for _ in range(2))
    again.draw(0)
    np.testing.assert_array_equal(first.draw(7).planes, again.draw(7).planes)
    assert not np.array_equal(first.draw(7).planes, first.draw(8).planes)
    assert not np.array_equal(first.draw(7).planes, CropSource(planes, 64, 8, seed=4).draw(7).planes)


def test_every_kind_of_every_scenario_gets_the_same_share(planes, monkeypatch):
    drawn = Counter()
    read = planes.read
    monkeypatch.setattr(planes, "read", lambda plane: drawn.update([(plane.scenario, plane.role)]) or read(plane))
    CropSource(planes, 64, 3000, seed=0).draw(0)
    assert len(drawn) == 3
    assert all(abs(count - 1000) < 120 for count in drawn.values())


def test_held_out_canvases_are_never_trained_on(planes, monkeypatch):
    seen = {False: set(), True: set()}
    read = planes.read
    for held_out in seen:
        monkeypatch.setattr(planes, "read", lambda plane, to=seen[held_out]: to.add(plane.offset) or read(plane))
        CropSource(planes, 64, 300, seed=0, held_out=held_out).draw(0)
    assert seen[True] == {plane.offset for plane in planes.index if plane.held_out}
    assert seen[False] == {plane.offset for plane in planes.index if not plane.held_out}


def test_validation_crops_are_spread_evenly_and_never_change(planes):
    source = CropSource(planes, 64, 8, seed=0, held_out=True)
    batches = source.spread(10, batch_size=5)
    assert [len(batch) for batch in batches] == [5, 5, 2]  # four of each of three kinds
    for batch, again in zip(batches, source.spread(10, batch_size=5), strict=True):
        np.testing.assert_array_equal(batch.planes, again.planes)


def test_padding_is_not_valid_and_crops_may_exceed_the_canvas(planes):
    crops = CropSource(planes, 256, 4, seed=0).draw(0)
    tensors, valid = crops.tensors()
    assert tensors.shape == valid.shape == (4, 1, 256, 256)
    assert (valid.sum((1, 2, 3)) == 100 * 64).all()
    assert tensors.min() >= 0 and tensors.max() < 1
    assert (tensors[:, :, 128:] == 0.5).all()


def test_processes_share_a_draw(planes):
    whole = CropSource(planes, 64, 6, seed=0).draw(2)
    parts = [whole.part(rank, 2) for rank in range(2)]
    assert [len(part) for part in parts] == [3, 3]
    np.testing.assert_array_equal(parts[1].planes, whole.planes[1::2])


def test_too_few_samples_are_an_error(planes, monkeypatch):
    monkeypatch.setattr(planes, "index", [plane for plane in planes.index if not plane.held_out])
    with pytest.raises(DataError, match="too few"):
        CropSource(planes, 64, 4, seed=0, held_out=True)
