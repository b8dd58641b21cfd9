"""`mini-cau-commands-clean`: spoken commands to be written down; mirrors ``cau-librispeech-clean``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_cau import spoken_track

MINI_CAU_COMMANDS_CLEAN = spoken_track(
    "mini-cau-commands-clean",
    title="Synthesised commands, word error rate",
    mirrors="cau-librispeech-clean",
    metric="word-error-rate",
    direction="down",
    inert=("key.1", "key.2", "key.3", "key.4", "value.2"),
    description="New sentences in voices that the model was trained on.",
)
