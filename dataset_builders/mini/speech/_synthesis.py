"""Speech, noise and reverberation over it, and the codec that it is shipped in.

Only making the shipped audio and training need this module.
"""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass

import numpy as np

from dataset_builders.mini.speech._espeak import Voice, espeak
from dataset_builders.mini.speech.grammar import Utterance

RATE = 16000
OPUS_LEVEL = 0.985  # about 14 kbit/s with headers; at 0.99 the consonants suffer
LONGEST = 3.16  # seconds; the model's window is 3.2
MARGIN = 0.04  # seconds of silence kept on both sides
SILENCE = 0.01  # of full scale

ACCENTS = ("gmw/en-US", "gmw/en", "gmw/en-GB-x-rp", "gmw/en-US-nyc")
VARIANTS = ("m1", "m2", "m3", "m4", "m6", "f1", "f2", "f3")
HELD_OUT_ACCENTS = ("gmw/en-US", "gmw/en", "gmw/en-GB-x-gbcwmd")
HELD_OUT_VARIANTS = ("m5", "m7", "f4")


@dataclass(frozen=True)
class Spoken:
    """A spoken sentence.

    Attributes:
        wave: float32 ``[n]`` at 16 kHz.
        starts: the words and the seconds at which they begin; an empty word is a pause.
    """

    wave: np.ndarray
    starts: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Room:
    """Where it is said.

    Attributes:
        snr: of the noise, in decibels.
        slope: the noise's spectrum falls with frequency to this power: 0 white, 1 pink.
        decay: seconds in which the reverberation falls by 60 decibels.
        wet: the reverberation's energy over the direct sound's.
        seed: of the noise and of the room's response.
    """

    snr: float
    slope: float
    decay: float
    wet: float
    seed: int


def draw_voice(source: random.Random, utterance: Utterance, *, held_out: bool = False) -> Voice:
    """Returns a random voice; held-out ones have variants, speeds and pitches that no training voice has."""
    if held_out:
        accent, variant = source.choice(HELD_OUT_ACCENTS), source.choice(HELD_OUT_VARIANTS)
    else:
        accent, variant = source.choice(ACCENTS), source.choice(VARIANTS)
    slowest, fastest = (215, 250) if utterance.task == "choose" else (180, 235)
    if held_out:
        slowest, fastest = slowest - 10, fastest + 10
    pitches = (25, 75) if held_out else (35, 65)
    return Voice(f"{accent}+{variant}", source.randint(slowest, fastest), source.randint(*pitches))


def draw_room(source: random.Random) -> Room:
    """Returns a random noisy room."""
    return Room(
        snr=source.uniform(8, 20),
        slope=source.choice((0.0, 0.5, 1.0)),
        decay=source.uniform(0.1, 0.4),
        wet=source.uniform(0.02, 0.3),
        seed=source.getrandbits(32),
    )


def speak(text: str, voice: Voice) -> Spoken:
    """Returns what a voice says, at 16 kHz and 0.6 of full scale, with little silence around it.

    Raises:
        DataError: if espeak-ng is not installed.
    """
    from scipy.signal import resample_poly

    speech = espeak().say(text, voice)
    divisor = int(np.gcd(speech.rate, RATE))
    wave = resample_poly(speech.wave, RATE // divisor, speech.rate // divisor).astype(np.float32)
    loud = np.flatnonzero(np.abs(wave) > SILENCE)
    margin = int(MARGIN * RATE)
    begin, end = max(0, loud[0] - margin), min(len(wave), loud[-1] + margin)
    words = {match.start(): match.group() for match in re.finditer(r"\w+", text)}
    starts = tuple(
        (words.get(place, ""), max(0.0, round(sample / speech.rate - begin / RATE, 3)))
        for place, sample in speech.starts
    )
    wave = wave[begin:end]
    return Spoken(wave * (0.6 / np.abs(wave).max()), starts)


def degraded(wave: np.ndarray, room: Room) -> np.ndarray:
    """Returns a wave as it sounds in a room: reverberant, with noise over it; as long and as loud as before."""
    from scipy.signal import fftconvolve

    source = np.random.default_rng(room.seed)
    times = np.arange(int(room.decay * RATE)) / RATE
    response = source.standard_normal(len(times)) * 10 ** (-3 * times / room.decay)
    response *= np.sqrt(room.wet / np.sum(response**2))
    response[0] += 1
    wet = fftconvolve(wave, response)[: len(wave)]
    frequencies = np.fft.rfftfreq(len(wave), 1 / RATE)
    spectrum = np.fft.rfft(source.standard_normal(len(wave))) / np.maximum(frequencies, 60) ** room.slope
    noise = np.fft.irfft(spectrum, len(wave))
    noise *= np.sqrt(np.mean(wet**2) / np.mean(noise**2) / 10 ** (room.snr / 10))
    noisy = wet + noise
    return (noisy * (0.6 / np.abs(noisy).max())).astype(np.float32)


def compressed(wave: np.ndarray) -> bytes:
    """Returns a wave as an Ogg Opus file."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL)
    return buffer.getvalue()


def recorded(utterance: Utterance, voice: Voice, room: Room | None) -> bytes | None:
    """Returns an utterance as an Ogg Opus file; None if it is longer than the model's window."""
    wave = speak(utterance.text, voice).wave
    if len(wave) > LONGEST * RATE:
        return None
    return compressed(wave if room is None else degraded(wave, room))
