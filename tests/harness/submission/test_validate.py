"""Honest submissions pass, and a verdict says what was looked at."""


def test_an_honest_submission_is_verified_to_its_last_bit(packed, verdict_on, decoder):
    verdict = verdict_on(packed, decoder, full=True)
    assert (verdict.level, verdict.faults) == ("verified", [])
    assert all(check.share == 1.0 and not check.left_out for check in verdict.checked)
    assert {check.what: check.checked for check in verdict.checked} == {
        "files of the layout": 33,
        "files read and hashed": 32,
        "rate points of the declared ladders": 2,
        "scenarios with data at hand": 1,
        "results of this version's scenarios, data and code": 4,
        "samples held against the test split": 88,
        "bitstreams recounted": 88,
        "predictions scored anew": 88,
        "results with all figures computed anew": 4,
        "codecs loaded in another process": 4,
        "samples decoded anew": 88,
        "of these, decoded to the very bits that were scored": 88,
        "predictions made anew by the tail": 88,
        "codecs fitted anew": 3,
    }
