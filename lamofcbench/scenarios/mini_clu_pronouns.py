"""`mini-clu-pronouns`: what a pronoun means, two options; mirrors ``clu-winogrande``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_clu import tracks

# The track on Falcon-Mamba follows when its model is trained.
MINI_CLU_PRONOUNS, _ = tracks(
    "mini-clu-pronouns",
    title="What a pronoun means, two options, exact match of the answer letter",
    mirrors="clu-winogrande",
    metric="exact-match-letter",
    max_new_tokens=12,
    inert=("key.2", "key.3", "key.4"),
)
