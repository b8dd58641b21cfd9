import numpy as np
import pytest

from dataset_builders.mini.digits.plan import IMAGE_SIDE, digits_plan, enlarge, pixel_hash


def hashes(digits):
    return {pixel_hash(digit.pixels) for digit in digits}


def test_parts_have_the_planned_sizes_and_share_no_digit():
    plan = digits_plan()
    parts = [plan.training, plan.calibration, plan.held_out]
    assert [len(part) for part in parts[:2]] == [900, 150]
    assert len(plan.held_out) >= 650
    assert len(set.union(*map(hashes, parts))) == sum(map(len, parts))


def test_plan_follows_the_hashes_alone(monkeypatch):
    import sklearn.datasets

    expected = [digit.hash for digit in digits_plan().held_out]
    bunch = sklearn.datasets.load_digits()
    bunch.images, bunch.target = bunch.images[::-1], bunch.target[::-1]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: bunch)
    assert [digit.hash for digit in digits_plan.__wrapped__().held_out] == expected


def test_every_part_holds_every_class():
    plan = digits_plan()
    for part in (plan.training, plan.calibration, plan.held_out):
        assert {digit.label for digit in part} == set(range(10))


@pytest.mark.parametrize("value", [0, 7, 16])
def test_enlarging_keeps_a_flat_image_flat(value):
    enlarged = enlarge(np.full((8, 8), value, np.uint8))
    assert enlarged.shape == (IMAGE_SIDE, IMAGE_SIDE) and enlarged.dtype == np.uint8
    assert (enlarged == round(255 * value / 16)).all()


def test_enlarging_is_bilinear_with_aligned_centres():
    torch = pytest.importorskip("torch")
    digit = digits_plan().training[0].pixels
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(digit * (255 / 16))[None, None], (IMAGE_SIDE, IMAGE_SIDE), mode="bilinear"
    )
    assert np.abs(enlarge(digit) - wanted.numpy()[0, 0]).max() <= 0.5 + 1e-6
