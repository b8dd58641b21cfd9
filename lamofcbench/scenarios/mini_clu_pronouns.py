"""`mini-clu-pronouns`: what a pronoun means, two options; mirrors ``clu-winogrande``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_clu import tracks

MINI_CLU_PRONOUNS, MINI_CLU_PRONOUNS_MAMBA = tracks(
    "mini-clu-pronouns",
    title="What a pronoun means, two options, exact match of the answer letter",
    mirrors="clu-winogrande",
    metric="exact-match-letter",
    max_tokens=64,  # the longest sample has 27
    max_new_tokens=12,
    inert=("key.2", "key.3", "key.4"),
)
