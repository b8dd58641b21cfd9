"""Honest submissions pass."""


def test_an_honest_submission_is_verified(packed, verdict_on):
    verdict = verdict_on(packed)
    assert verdict.faults == []
    print(*verdict.checked, sep="\n")
    assert verdict.level == "verified"
