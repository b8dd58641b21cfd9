import numpy as np
import pytest
import torch

from lamofcbench.codecs.caches.allocation import Part
from lamofcbench.codecs.caches.plan import Plan
from lamofcbench.errors import BitstreamError, CodecError

PLAN = Plan((Part(3, 8, -2), Part(19, 4), Part(51, 2)))


def test_codes_have_the_bits_of_their_groups_and_integers_cover_the_range_of_each_row():
    values = np.random.default_rng(0).normal(size=(40, 51)).astype(np.float32)
    coded = PLAN.encode(values)
    assert coded.codes.shape == values.shape and coded.steps.shape == coded.lows.shape == (40, 2)
    assert (coded.codes < 2**PLAN.bits).all()
    errors = np.abs(PLAN.decode(coded) - values)
    for span, bits in ((slice(3, 19), 4), (slice(19, 51), 2)):
        steps = np.ptp(values[:, span], axis=1, keepdims=True) / (2**bits - 1)
        assert (errors[:, span] <= steps / 2 + 0.01).all()


def test_a_plan_comes_back_from_its_state():
    for plan in (PLAN, Plan(())):
        assert Plan.from_state(plan.state()) == plan


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, 2, dtype=torch.int32),
        torch.zeros(1, 3),
        torch.tensor([[4, 3, 0]], dtype=torch.int32),
        torch.tensor([[4, 2, 0], [4, 2, 0]], dtype=torch.int32),
        torch.tensor([[-4, 2, 0]], dtype=torch.int32),
        torch.tensor([[4, 8, 4000]], dtype=torch.int32),
    ],
)
def test_a_strangers_plan_is_checked(tensor):
    with pytest.raises(CodecError):
        Plan.from_state(tensor)


def test_scales_that_no_encoder_writes_are_refused():
    coded = PLAN.encode(np.ones((2, 51), np.float32))
    for scales, value in ((coded.steps, -1.0), (coded.lows, np.nan)):
        kept = scales.copy()
        scales[0, 0] = value
        with pytest.raises(BitstreamError):
            PLAN.decode(coded)
        scales[...] = kept
