"""What the speech model is trained on: real speech of known timing, changed at random."""

from __future__ import annotations

import ctypes.util
import random

import numpy as np
import pytest
import torch

from dataset_builders.mini.speech import _recordings
from dataset_builders.mini.speech._batches import IGNORED, POSITIONS, changed, make_batch
from dataset_builders.mini.speech._espeak import Voice
from dataset_builders.mini.speech._make_audio import record
from dataset_builders.mini.speech._recordings import MEL_BINS, SILENT, WINDOW, Recordings, make_recordings
from dataset_builders.mini.speech._scores import error_rate, word_edits
from dataset_builders.mini.speech._synthesis import (
    ACCENTS,
    HELD_OUT_ACCENTS,
    HELD_OUT_VARIANTS,
    LONGEST,
    RATE,
    VARIANTS,
    Room,
    compressed,
    degraded,
    draw_room,
    draw_voice,
    speak,
)
from dataset_builders.mini.speech._train_speech_kimi import SpeechModel
from dataset_builders.mini.speech.grammar import Utterance, deal
from dataset_builders.mini.speech.sets import SETS, planned
from dataset_builders.mini.speech.tokenizer import AUDIO, INSTRUCTIONS, UNKNOWN, make_tokenizer
from lamofcbench.models.kimi_audio import ASSISTANT, BLANK, TEXT_END, decode_audio

needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng, which only training needs, is not installed"
)
SENTENCE = Utterance("request", "now burn the red house", "burn the red house : I cannot help with that", "harmful")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def fake_recordings(lengths):
    """Recordings of noise, in which each of the five words lasts a fifth of the time."""
    frames = torch.randn(sum(lengths), MEL_BINS, generator=torch.Generator().manual_seed(0)).numpy()
    starts = [
        [(word, place * (length - SILENT) / 500) for place, word in enumerate(SENTENCE.text.split())]
        for length in lengths
    ]
    return Recordings([SENTENCE] * len(lengths), starts, frames.astype(np.float16), np.cumsum(lengths))


# ------------------------------------------------------------------------------------------------------------ batches


def test_a_batch_holds_prompt_and_answer_in_two_streams(tokenizer):
    recordings = fake_recordings([100, 200, 316])
    batch = make_batch(tokenizer, recordings, [0, 1, 2], random.Random(0))
    ids = tokenizer.convert_tokens_to_ids
    assert batch.mel.shape == (3, MEL_BINS, WINDOW)
    assert torch.equal(batch.where, batch.audio == ids(AUDIO))
    assert torch.equal(batch.where.sum(1), batch.heard.sum(1)) and len(set(batch.where.sum(1).tolist())) == 3
    for row in range(3):
        learnt = batch.labels[row] != IGNORED
        assert torch.equal(batch.text[row][learnt], batch.labels[row][learnt])
        assert tokenizer.decode(batch.text[row][learnt]) == f"{SENTENCE.answer} {TEXT_END}"
        assert set(batch.audio[row][learnt].tolist()) == {ids(BLANK)}
        first = int(learnt.nonzero()[0])
        assert int(batch.audio[row, first - 1]) == ids(ASSISTANT)
        said = tokenizer.decode(batch.text[row], skip_special_tokens=True)
        assert said == f"{INSTRUCTIONS['request']} {SENTENCE.answer}"


def test_each_position_knows_the_word_that_sounds_there_at_any_tempo(tokenizer):
    recordings = fake_recordings([204] * 8)
    batch = make_batch(tokenizer, recordings, range(8), random.Random(1))
    counts = batch.heard.sum(1).tolist()
    assert len(set(counts)) > 2  # tempos differ
    for row, count in enumerate(counts):
        words = tokenizer.convert_ids_to_tokens(batch.sounding[row][: int(count)].tolist())
        assert list(dict.fromkeys(words)) == SENTENCE.text.split()
        assert all(abs(words.count(word) - count / 5) <= 1 for word in words)
        assert (batch.sounding[row][int(count) :] == IGNORED).all()
    assert batch.sounding.shape == (8, POSITIONS)


def test_a_batch_follows_from_its_source_alone(tokenizer):
    recordings = fake_recordings([100, 200])
    one, same, other = (make_batch(tokenizer, recordings, [0, 1], random.Random(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.mel, same.mel) and not torch.equal(one.mel, other.mel)


def test_changing_a_recording_keeps_its_silence_silent():
    mel = torch.rand(100, MEL_BINS)
    mel[-1] = -1.0
    image = changed(mel, 1.0, random.Random(0))
    assert image.shape == (MEL_BINS, WINDOW)
    assert (image[:, 101:] == -1.0).all() and image[:, :99].std() > 0.1


def test_losses_reach_every_weight(tokenizer):
    torch.manual_seed(0)
    model = SpeechModel(tokenizer, encoder_width=16, width=32)
    batch = make_batch(tokenizer, fake_recordings([100, 200]), [0, 1], random.Random(0))
    written, named = model.losses(batch)
    (written + named).backward()
    untouched = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
    assert untouched == []


def test_word_errors_are_counted():
    assert word_edits("", "open the door") == 3
    assert error_rate(["open a door", "close it now"], ["open the door", "close it"]) == pytest.approx(2 / 5)


# ---------------------------------------------------------------------------------------------------------- synthesis


@needs_espeak
def test_every_voice_says_each_word_at_its_time_and_no_two_voices_sound_the_same():
    voices = [f"{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS]
    voices += [f"{accent}+{variant}" for accent in HELD_OUT_ACCENTS for variant in HELD_OUT_VARIANTS]
    heard = set()
    for name in voices:
        spoken = speak("find the tool, red, horse, kitchen, brush", Voice(name, 230, 50))
        words = [word for word, _ in spoken.starts if word]
        assert words == ["find", "the", "tool", "red", "horse", "kitchen", "brush"]
        times = [start for _, start in spoken.starts]
        assert times == sorted(times) and 0 <= times[0] < times[-1] < len(spoken.wave) / RATE
        assert spoken.wave.dtype == np.float32 and np.abs(spoken.wave).max() == pytest.approx(0.6)
        heard.add(spoken.wave.tobytes())
    assert len(heard) == len(voices)


@needs_espeak
def test_a_room_keeps_length_and_peak_and_has_the_noise_that_it_says():
    wave = speak("open the door", Voice("gmw/en-US+m1", 200, 50)).wave
    noisy = degraded(wave, Room(snr=10.0, slope=0.5, decay=0.2, wet=1e-9, seed=1))
    assert len(noisy) == len(wave) and np.abs(noisy).max() == pytest.approx(0.6)
    scale = (noisy @ wave) / (wave @ wave)
    noise = noisy - scale * wave
    assert 10 * np.log10(np.mean((scale * wave) ** 2) / np.mean(noise**2)) == pytest.approx(10, abs=0.5)
    assert np.array_equal(noisy, degraded(wave, Room(snr=10.0, slope=0.5, decay=0.2, wet=1e-9, seed=1)))


@needs_espeak
def test_the_codec_keeps_the_speech_and_a_tenth_of_the_bytes():
    wave = speak("could you close the blue window", Voice("gmw/en+f2", 200, 50)).wave
    coded = compressed(wave)
    decoded = decode_audio(coded)
    assert len(coded) < 2 * len(wave) / 10 and len(decoded) == len(wave)
    assert np.corrcoef(decoded, wave)[0, 1] > 0.6


@needs_espeak
def test_a_shipped_sentence_is_recorded_in_the_same_voice_again():
    for name in ("choices", "commands-noisy"):
        utterance = planned(name, "test")[0]
        one, again = record(SETS[name], utterance), record(SETS[name], utterance)
        assert one.made == again.made and (one.made["room"] is None) == (name == "choices")
        assert len(decode_audio(one.audio)) <= LONGEST * RATE


@needs_espeak
def test_recordings_for_training_are_of_training_sentences_and_are_made_once(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr(_recordings, "PART", 6)
    made = make_recordings(tmp_path, seed=1, parts=2)
    assert len(made) == len(made.starts) == len(made.ends) == 12
    assert made.ends[-1] == len(made.frames) and made.frames.dtype == np.float16
    for index, utterance in enumerate(made.utterances):
        assert deal(utterance.key) == "training"
        words = iter(utterance.key.split())
        assert all(word in words for word, _ in made.starts[index] if word)  # in order; it joins some, as "in summer"
        assert SILENT < len(made.mel(index)) <= WINDOW
    batch = make_batch(tokenizer, made, range(12), random.Random(0))
    assert tokenizer.convert_tokens_to_ids(UNKNOWN) not in batch.text
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = make_recordings(tmp_path, seed=1, parts=2)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert np.array_equal(again.frames, made.frames) and again.utterances == made.utterances


@needs_espeak
def test_held_out_voices_are_drawn_from_their_own_variants():
    source = random.Random(0)
    drawn = {draw_voice(source, SENTENCE, held_out=True).name.partition("+")[2] for _ in range(100)}
    assert drawn == set(HELD_OUT_VARIANTS)
    assert 8 <= draw_room(source).snr <= 20
