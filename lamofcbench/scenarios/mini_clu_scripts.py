"""`mini-clu-scripts`: how an activity goes on, four options; mirrors ``clu-hellaswag``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_clu import tracks

MINI_CLU_SCRIPTS, MINI_CLU_SCRIPTS_MAMBA = tracks(
    "mini-clu-scripts",
    title="The next step of an activity, four options, exact match of the answer letter",
    mirrors="clu-hellaswag",
    metric="exact-match-letter",
    max_tokens=64,  # the longest sample has 28
    max_new_tokens=12,
    inert=("key.3", "key.4"),
)
