import dataclasses
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


def test_the_sizes_of_crops_take_turns_and_all_draws_have_one_area(planes):
    source = CropSource(planes, 256, 2, seed=0)
    assert [source.draw(step).planes.shape for step in range(4)] == [
        (32, 64, 64),
        (8, 128, 128),
        (2, 256, 256),
        (32, 64, 64),
    ]
    assert CropSource(planes, 192, 1, seed=0).draw(0).planes.shape == (9, 64, 64)


@pytest.mark.parametrize(("size", "batch_size", "step"), [(64, 3000, 0), (256, 200, 2)])
def test_every_kind_of_every_scenario_gets_the_same_area(size, batch_size, step, planes, monkeypatch):
    drawn = Counter()
    read = planes.read
    monkeypatch.setattr(planes, "read", lambda plane: drawn.update([(plane.scenario, plane.role)]) or read(plane))
    CropSource(planes, size, batch_size, seed=0).draw(step)
    assert len(drawn) == 3
    mean = sum(drawn.values()) / 3
    assert all(abs(count - mean) < 0.12 * mean for count in drawn.values())


def test_large_kinds_are_drawn_less_often(planes, monkeypatch):
    small = [plane for plane in planes.index if plane.role == "key"]
    monkeypatch.setattr(planes, "index", [p for p in planes.index if p.role != "key"] + [halved(p) for p in small])
    area = Counter()
    monkeypatch.setattr(planes, "read", lambda plane: area.update({plane.role: plane.height}) or filled(plane))
    CropSource(planes, 128, 1000, seed=0).draw(1)
    assert area["key"] == pytest.approx(area["hidden"] / 2, rel=0.1)  # of hidden, there are two


def halved(plane):
    return dataclasses.replace(plane, height=64, elements=plane.elements // 2)


def filled(plane):
    return np.zeros((plane.height, plane.width), np.uint8), np.ones((plane.height, plane.width), np.bool_)


def test_held_out_canvases_are_never_trained_on(planes, monkeypatch):
    seen = {False: set(), True: set()}
    read = planes.read
    for held_out in seen:
        monkeypatch.setattr(planes, "read", lambda plane, to=seen[held_out]: to.add(plane.offset) or read(plane))
        CropSource(planes, 64, 300, seed=0, held_out=held_out).draw(0)
    assert seen[True] == {plane.offset for plane in planes.index if plane.held_out}
    assert seen[False] == {plane.offset for plane in planes.index if not plane.held_out}


def test_the_first_draws_give_every_size_its_elements(planes):
    draws = CropSource(planes, 128, 2, seed=0, held_out=True).draws(3 * 128 * 128)
    assert [draw.planes.shape for draw in draws] == 2 * [(8, 64, 64), (2, 128, 128)]
    again = CropSource(planes, 128, 2, seed=0, held_out=True).draws(3 * 128 * 128)
    for draw, other in zip(draws, again, strict=True):
        np.testing.assert_array_equal(draw.planes, other.planes)


def test_what_a_canvas_leaves_free_is_filled_by_others(planes):
    crops = CropSource(planes, 256, 4, seed=0).draw(2)
    tensors, valid = crops.tensors()
    assert tensors.shape == valid.shape == (4, 1, 256, 256)
    canvases = [planes.read(plane)[0] for plane in planes.index]
    for top in (0, 128):
        for left in (0, 64, 128, 192):
            part = crops.planes[0, top : top + 128, left : left + 64]
            assert any(np.array_equal(part, canvas) for canvas in canvases)


def test_padding_is_not_valid(planes):
    crops = CropSource(planes, 256, 4, seed=0).draw(2)
    tensors, valid = crops.tensors()
    assert (valid.sum((1, 2, 3)) == 8 * 100 * 64).all()
    assert tensors.min() >= 0 and tensors.max() < 1


def test_processes_share_a_draw(planes):
    whole = CropSource(planes, 64, 6, seed=0).draw(2)
    parts = [whole.part(rank, 2) for rank in range(2)]
    assert [len(part) for part in parts] == [3, 3]
    np.testing.assert_array_equal(parts[1].planes, whole.planes[1::2])


def test_too_few_samples_are_an_error(planes, monkeypatch):
    monkeypatch.setattr(planes, "index", [plane for plane in planes.index if not plane.held_out])
    with pytest.raises(DataError, match="too few"):
        CropSource(planes, 64, 4, seed=0, held_out=True)
