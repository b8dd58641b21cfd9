"""`mini-clu-arithmetic`: word problems answered by small decoders; mirrors ``clu-gsm8k``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_clu import tracks

MINI_CLU_ARITHMETIC, MINI_CLU_ARITHMETIC_MAMBA = tracks(
    "mini-clu-arithmetic",
    title="Arithmetic word problems, exact match of the last number in the answer",
    mirrors="clu-gsm8k",
    metric="exact-match-number",
    max_tokens=128,  # the longest sample has 48
    max_new_tokens=20,
    inert=("key.4", "value.4"),
)
