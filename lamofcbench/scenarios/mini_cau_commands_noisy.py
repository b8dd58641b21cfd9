"""`mini-cau-commands-noisy`: commands in other voices and noisy rooms; mirrors ``cau-librispeech-other``."""

from __future__ import annotations

from lamofcbench.scenarios._mini_cau import spoken_track

MINI_CAU_COMMANDS_NOISY = spoken_track(
    "mini-cau-commands-noisy",
    title="Synthesised commands, unknown voices in noisy rooms, word error rate",
    mirrors="cau-librispeech-other",
    metric="word-error-rate",
    direction="down",
    description="New sentences with noise and reverberation, in voices, tempos and pitches that training held out.",
)
