"""`mini-clu-facts`: questions on facts about things, four options; mirrors ``clu-arc-challenge``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_clu import tracks

MINI_CLU_FACTS, MINI_CLU_FACTS_MAMBA = tracks(
    "mini-clu-facts",
    title="What things have, four options, exact match of the answer letter",
    mirrors="clu-arc-challenge",
    metric="exact-match-letter",
    max_tokens=64,  # the longest sample has 22
    max_new_tokens=12,
    inert=("key.3", "key.4"),
)
