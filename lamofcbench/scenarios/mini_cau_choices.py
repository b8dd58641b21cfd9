"""`mini-cau-choices`: spoken questions with four spoken options; mirrors ``cau-openbookqa``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_cau import spoken_track

MINI_CAU_CHOICES = spoken_track(
    "mini-cau-choices",
    title="Synthesised questions with four options, exact match of the answer letter",
    mirrors="cau-openbookqa",
    metric="exact-match-letter",
    direction="up",
    description="Which of four things is a fruit, an animal, a tool, a colour, a room or a building.",
)
