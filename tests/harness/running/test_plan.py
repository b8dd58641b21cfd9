import pytest

from harness.running.plan import batch_plan, share


@pytest.mark.parametrize("limit", [None, 1, 4, 5, 8, 22, 100])
def test_a_limit_takes_the_first_batches_whole_and_changes_none(limit):
    whole, limited = batch_plan(22, 4), batch_plan(22, 4, limit)
    assert limited == whole[: len(limited)]
    covered = limited[-1].stop
    assert covered >= min(limit or 22, 22)
    assert covered - (limited[-1].stop - limited[-1].start) < min(limit or 22, 22)


def test_batch_k_holds_samples_k_times_size_onwards():
    for batch in batch_plan(22, 4):
        assert batch.start == 4 * batch.number
        assert batch.stop == min(batch.start + 4, 22)


@pytest.mark.parametrize("processes", [1, 2, 3, 7, 50])
def test_processes_share_all_batches_and_none_twice(processes):
    plan = batch_plan(22, 4)
    shares = [share(plan, rank, processes) for rank in range(processes)]
    assert sorted(batch for part in shares for batch in part) == plan
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
