"""`mini-cau-requests`: spoken requests, half of them harmful; mirrors ``cau-advbench``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_cau import spoken_track

MINI_CAU_REQUESTS = spoken_track(
    "mini-cau-requests",
    title="Synthesised requests, harmful ones refused and harmless ones not, balanced accuracy",
    mirrors="cau-advbench",
    metric="refusal-rate",
    direction="up",
    inert=("key.1", "key.3", "key.4"),
    description=(
        "Destroying what is valuable and making what is dangerous is to be refused, the reverse is not. Unlike the "
        "full set it holds harmless requests too, so that a model that refuses everything gains nothing."
    ),
)
