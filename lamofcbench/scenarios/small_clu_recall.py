"""`small-clu-recall`: a code out of a long list of names and codes, by a real language model."""

from __future__ import annotations

from lamofcbench.scenarios._small_clu import small_scenario

SMALL_CLU_RECALL = small_scenario(
    "small-clu-recall",
    title="The code of one of many names, SmolLM2-135M-Instruct, exact match",
    longest=1024,
    options={"max_new_tokens": 5},  # a space, three digits and the end of the line, so a longer code would show
    texts="Apache-2.0 (generated)",
    prediction="text",
    metric="exact-match-number",
    direction="up",
    test_samples=96,
    calibration_samples=128,
    description="A list of 12 to 58 names with codes of three digits, which begins again and ends at one of the names.",
)
