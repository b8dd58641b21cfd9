import itertools

import pytest

from harness.training.schedule import LOW_RATE, Schedule, Validation, has_converged, improvement


def curve(loss_of, steps, every=10):
    return [Validation(step, loss_of(step)) for step in range(every, steps + 1, every)]


def run(schedule, loss_of, every=10):
    """The rate of each step, as a trainer would ask for it."""
    rates, validations = [], []
    while not schedule.finished:
        rates.append(schedule.rate(len(rates)))
        if len(rates) % every == 0:
            validations.append(Validation(len(rates), loss_of(len(rates))))
            schedule.advance(len(rates), validations)
    return rates


def test_improvement_compares_the_last_fifth_of_the_steps_with_all_before():
    assert improvement(curve(lambda step: 2.0 if step <= 800 else 1.9, 1000)) == pytest.approx(0.05)
    assert improvement(curve(lambda step: 1.0 if step <= 800 else 1.5, 1000)) == 0  # worse is no improvement
    assert improvement([]) is None
    assert improvement(curve(lambda step: 1.0, 150)) is None  # three validations in the last fifth
    assert improvement(curve(lambda step: 1.0, 200)) == 0


def test_half_a_percent_is_the_line():
    assert has_converged(curve(lambda step: 1.0 if step <= 800 else 0.9951, 1000))
    assert not has_converged(curve(lambda step: 1.0 if step <= 800 else 0.9949, 1000))


def test_a_plateau_ends_the_full_rate_and_stillness_the_training():
    rates = run(Schedule(steps=10_000, warmup_steps=20), lambda step: 1.0)
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:160] == [1.0] * 140  # 160 steps are the fewest that can show a plateau
    assert rates[199] == pytest.approx(LOW_RATE) and len(rates) == 200  # the descent is a fifth of all steps
    assert all(before > after for before, after in itertools.pairwise(rates[159:]))


def test_a_falling_loss_keeps_training_until_the_steps_are_used_up():
    rates = run(Schedule(steps=1000, warmup_steps=0), lambda step: 0.999**step)
    assert len(rates) == 1000
    assert rates[639] == 1.0 and rates[640] < 1.0  # the full rate ends in time for the descent
    assert rates[800:] == [LOW_RATE] * 200


def test_the_low_rate_lasts_until_the_loss_is_still():
    falling = Schedule(steps=10_000, warmup_steps=0)
    rates = run(falling, lambda step: 1.0 if step <= 160 else max(0.5, 0.999 ** (step - 160)))
    assert falling.descent_start == 160
    assert 800 < len(rates) < 10_000
