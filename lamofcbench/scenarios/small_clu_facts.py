"""`small-clu-facts`: questions with one-word answers that a real language model knows."""

from __future__ import annotations

from lamofcbench.scenarios._small_clu import small_scenario

SMALL_CLU_FACTS = small_scenario(
    "small-clu-facts",
    title="Questions with one-word answers, SmolLM2-135M-Instruct, share of answers that give the word",
    longest=256,
    batch_size=16,
    options={"max_new_tokens": 16, "chat_template": True},
    texts="Apache-2.0 (questions)",
    prediction="text",
    metric="answer-accuracy",
    direction="up",
    test_samples=228,
    calibration_samples=179,
    description="Questions that the model answers on uncoded features; subjects were dealt to the splits before.",
)
