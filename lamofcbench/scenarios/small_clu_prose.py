"""`small-clu-prose`: the next tokens of real prose, by a real language model."""

from __future__ import annotations

from lamofcbench.scenarios._small_clu import small_scenario
from lamofcbench.scenarios.base import GivenSpec

_SCORED_TOKENS = 32
_VOCABULARY = 49152

SMALL_CLU_PROSE = small_scenario(
    "small-clu-prose",
    title="The next 32 tokens of real prose, SmolLM2-135M-Instruct, negative log-likelihood",
    longest=512,
    adapter="decoder-continuation",
    options={"continuation_tokens": _SCORED_TOKENS},
    texts="public domain in the USA (two books of Project Gutenberg, out of brotli 1.2.1, MIT)",
    given=(GivenSpec(name="continuation", shape=(_SCORED_TOKENS,), dtype="int64"),),
    prediction="logprobs",
    metric="negative-log-likelihood",
    metric_options={"vocabulary": _VOCABULARY},
    direction="down",
    test_samples=96,
    calibration_samples=128,
    description=(
        "Passages of 64 to 256 tokens from Workshop on Electronic Texts (Library of Congress, 1992) and Alice's "
        "Adventures in Wonderland. The tail is given the real next tokens, which no codec sees and no rate counts."
    ),
)
