"""`mini-cau-questions`: spoken questions about facts; mirrors ``cau-sdqa``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_cau import spoken_track

MINI_CAU_QUESTIONS = spoken_track(
    "mini-cau-questions",
    title="Synthesised questions about facts, answer accuracy",
    mirrors="cau-sdqa",
    metric="answer-accuracy",
    direction="up",
    inert=("key.1", "key.2", "key.4"),
    description="What animals of a small world eat, where they live and who owns them, which the model knows by heart.",
)
