"""`mini-clu-claims`: what is true among misleading claims, four options; mirrors ``clu-truthfulqa-mc1``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_clu import tracks

MINI_CLU_CLAIMS, MINI_CLU_CLAIMS_MAMBA = tracks(
    "mini-clu-claims",
    title="What is true among claims, four options, exact match of the answer letter",
    mirrors="clu-truthfulqa-mc1",
    metric="exact-match-letter",
    max_tokens=128,  # the longest sample has 51
    max_new_tokens=12,
    inert=("key.2", "key.3", "key.4", "value.4"),
)
