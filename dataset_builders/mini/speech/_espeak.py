"""espeak-ng through its library: what it says, and when each word begins.

Only making the shipped audio and training need it (``apt-get install espeak-ng``).
"""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lamofcbench.errors import DataError

_SYNCHRONOUS, _CHARACTERS, _UTF8 = 2, 1, 1  # from espeak-ng's speak_lib.h, as are the numbers below
_RATE, _PITCH = 1, 3
_LIST_END, _WORD = 0, 1
_DONE = 0


@dataclass(frozen=True)
class Voice:
    """Who speaks, and how.

    Attributes:
        name: espeak-ng's voice file and variant, such as ``gmw/en-US+m3``. A mere language such as ``en-gb`` would do,
            but then the variant is ignored.
        speed: words per minute.
        pitch: 0 to 99, 50 is the variant's own.
    """

    name: str
    speed: int
    pitch: int


@dataclass(frozen=True)
class Speech:
    """What was said.

    Attributes:
        wave: float32 ``[n]``.
        rate: samples a second.
        starts: the place in the text and the sample at which each word or pause begins.
    """

    wave: np.ndarray
    rate: int
    starts: tuple[tuple[int, int], ...]


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library, which is not reentrant: one sentence at a time in a process."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise DataError("no library espeak-ng; install it (apt-get install espeak-ng) to synthesise speech")
        self._library: Any = ctypes.CDLL(name)
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
        if self.rate <= 0:
            raise DataError("espeak-ng does not start; are its voices installed?")
        self._parts: list[np.ndarray] = []
        self._starts: list[tuple[int, int]] = []
        self._callback = _Callback(self._receive)  # kept, because the library holds no reference
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: Voice) -> Speech:
        """Returns what a voice says.

        Raises:
            DataError: if there is no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.name.encode()):
            raise DataError(f"espeak-ng has no voice {voice.name}")
        self._library.espeak_SetParameter(_RATE, voice.speed, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        self._parts, self._starts = [], []
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        wave = np.concatenate(self._parts).astype(np.float32) / 32768
        return Speech(wave, self.rate, tuple(self._starts))

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if count and wave:
            self._parts.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != _LIST_END:
            if events[index].type == _WORD:
                self._starts.append((events[index].text_position - 1, events[index].sample))
            index += 1
        return _DONE


@cache
def espeak() -> Espeak:
    """Returns the process's one instance.

    Raises:
        DataError: if espeak-ng is not installed.
    """
    return Espeak()
