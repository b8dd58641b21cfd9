"""The five spoken tasks: LibriSpeech's folders or Parquet files, VoiceBench's Parquet files.

A sample is an utterance's own id, or its place among the rows. Without a list the samples are the first by id or place
whose audio is as long as the published pipeline takes. Calibration is of LibriSpeech's development split whatever the
task, asked to be written down: the published tables were made from LibriSpeech; of which part is not known.

The authors' own selection, ``audio/data.json``, is read where the folder has it: entries of data sets with subset,
index, answer and the name of a file.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

from dataset_builders.full.builder import FullBuilder, in_order
from dataset_builders.full.published.references import published_list, spoken_entries
from dataset_builders.full.raw import TEST_NAMES, Repository, rows
from dataset_builders.full.sample_lists import sample_names
from dataset_builders.full.speech.tasks import HARMFUL, TRANSCRIBE, SpokenTask, counts, task_of
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError, first_line
from lamofcbench.models.kimi_audio import SAMPLE_RATE, SpokenPrompt

_LIBRISPEECH, _LIBRISPEECH_PARTS = "openslr/librispeech_asr", ("clean", "other")
_DEVELOPMENT = ("dev-clean", "dev", "validation", "dev-other")
_AUDIO_ENDS = (".wav", ".flac", ".mp3", ".ogg")
_TABLE, _TRANSCRIPTS = ".parquet", ".trans.txt"
_CALIBRATION = SpokenTask("dev_clean", None, "dev-clean", "validation", TRANSCRIBE)


class Utterance(NamedTuple):
    """Audio that was found.

    Attributes:
        audio: bytes of its file, or the file.
        reference: what was said, or what counts as right.
    """

    audio: bytes | Path
    reference: str

    def data(self) -> bytes:
        """The bytes of the audio's file."""
        return self.audio if isinstance(self.audio, bytes) else self.audio.read_bytes()


class SpeechBuilder(FullBuilder):
    """A sample's inputs are its audio and the instruction before it."""

    @property
    def task(self) -> SpokenTask:
        """The task of the track."""
        return task_of(self.name)

    def chosen(self, split: Split) -> Sequence[Sample]:
        """The utterances of a split."""
        test = split == "test"
        task = self.task if test else _CALIBRATION
        names: tuple[str, ...] = (task.name, task.configuration, task.split) if test else _DEVELOPMENT
        what = f"utterances of {task.configuration}"
        root = self.raw.folder(split, repository_of(task), what)
        chosen = published_list(root) if test else None
        if chosen is not None:
            utterances = _listed(chosen, task)
        else:
            files = self.raw.files(split, root, (_TABLE, ".txt"), what, names)
            utterances = _utterances([file for file in files if _is_of(file, task)], task)
        found = {id: one for id, one in utterances if _fits(one)}
        listed = sample_names(self.raw.samples) if test else None
        return [
            Sample(id, SpokenPrompt(one.data(), task.instruction), one.reference)
            for id, one in in_order(found, self.counts[split], listed, what)
        ]

    def model_inputs(self, inputs: SpokenPrompt) -> SpokenPrompt:
        """The samples at the model's rate, beside the instruction."""
        assert isinstance(inputs.audio, bytes)
        return SpokenPrompt(wave(inputs.audio), inputs.instruction)

    def content_hash(self, sample: Sample) -> str:
        """The hex sha256 of the audio's file."""
        return hashlib.sha256(sample.inputs.audio).hexdigest()


def repository_of(task: SpokenTask) -> Repository:
    """Where the utterances of a task are on the Hub."""
    if task.dataset is not None:
        return Repository(task.dataset, (f"{task.configuration}/{task.split}-*{_TABLE}",), task.configuration)
    return Repository(_LIBRISPEECH, (f"{_part(task)}/{task.split}/*{_TABLE}",), _part(task))


def _part(task: SpokenTask) -> str:
    return task.configuration.rpartition("-")[2]


def _is_of(file: Path, task: SpokenTask) -> bool:
    """False for files of the task's repository that are of another part.

    Both parts of LibriSpeech have the same splits there, and all accents of SD-QA lie in one folder.
    """
    if task.dataset is not None:
        return task.split in TEST_NAMES or file.name.startswith(f"{task.split}-")
    folder = file.parent.parent.name
    return folder not in _LIBRISPEECH_PARTS or folder == _part(task)


def _utterances(files: Sequence[Path], task: SpokenTask) -> Iterator[tuple[str, Utterance]]:
    """Utterances by id, in the order of ids, or of rows."""
    tables = [file for file in files if file.suffix == _TABLE]
    if tables:
        for number, row in enumerate(rows(tables)):
            yield _of_row(row, number, task)
        return
    said: dict[str, Utterance] = {}
    for file in files:
        if file.name.endswith(_TRANSCRIPTS):
            for line in file.read_text(encoding="utf-8").splitlines():
                id, _, text = line.strip().partition(" ")
                audio = next((p for end in (".flac", ".wav") if (p := file.with_name(id + end)).is_file()), None)
                if id and audio is None:
                    raise DataError(f"{file} tells of {id}, which has no audio beside it")
                if audio is not None:
                    said[id] = Utterance(audio, text)
    yield from sorted(said.items())


def _listed(path: Path, task: SpokenTask) -> Iterator[tuple[str, Utterance]]:
    """The utterances of a task in the authors' list, as they stand there."""
    audio = {file.name: file for file in sorted(path.parent.rglob("*")) if file.suffix.lower() in _AUDIO_ENDS}
    for entry in spoken_entries(path):
        if _plain(task.name) not in (_plain(entry.dataset), _plain(entry.subset)):
            continue
        places = [value for value in entry.told.values() if isinstance(value, str)]
        file = next((audio[name] for value in places if (name := PurePosixPath(value).name) in audio), None)
        answer = HARMFUL if task.name == "advbench" else entry.answer
        if file is None or answer is None:
            raise DataError(f"{path}: {entry.id} has no {'audio in this folder' if file is None else 'answer'}")
        yield entry.id, Utterance(file, answer)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _of_row(row: Mapping[str, Any], number: int, task: SpokenTask) -> tuple[str, Utterance]:
    audio = row.get("audio")
    if not isinstance(audio, dict) or not isinstance(audio.get("bytes"), bytes):
        raise DataError(f"row {number} of {task.configuration} has no audio")
    if task.name == "advbench":
        reference: Any = HARMFUL  # all requests are
    else:
        reference = row.get("reference", row.get("text"))
    if not isinstance(reference, str):
        raise DataError(f"row {number} of {task.configuration} has no reference")
    id = row.get("id")
    return (id if isinstance(id, str) else str(number)), Utterance(audio["bytes"], reference)


def _fits(utterance: Utterance) -> bool:
    """Whether the published pipeline takes audio of this length."""
    import soundfile

    source = io.BytesIO(utterance.audio) if isinstance(utterance.audio, bytes) else str(utterance.audio)
    try:
        info = soundfile.info(source)
    except soundfile.SoundFileError as error:
        raise DataError(f"audio cannot be read: {first_line(error)}") from error
    return counts(info.frames, info.samplerate)


def wave(data: bytes) -> Any:
    """The samples of an audio file, float32 ``[n]`` at 16 kHz, its channels averaged.

    Other rates are resampled by scipy's polyphase filter; by which filter the published run did it is not known.

    Raises:
        DataError: if the file cannot be read.
    """
    import numpy as np
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"audio cannot be read: {first_line(error)}") from error
    mono = samples.mean(axis=1)
    if rate == SAMPLE_RATE:
        return mono
    from scipy.signal import resample_poly

    return resample_poly(mono, SAMPLE_RATE, rate).astype(np.float32)


class LibriSpeechCleanBuilder(SpeechBuilder):
    """LibriSpeech test-clean."""

    name: ClassVar[str] = "cau-librispeech-clean"


class LibriSpeechOtherBuilder(SpeechBuilder):
    """LibriSpeech test-other."""

    name: ClassVar[str] = "cau-librispeech-other"


class AdvBenchBuilder(SpeechBuilder):
    """AdvBench, spoken."""

    name: ClassVar[str] = "cau-advbench"


class OpenBookQABuilder(SpeechBuilder):
    """OpenBookQA, spoken."""

    name: ClassVar[str] = "cau-openbookqa"


class SDQABuilder(SpeechBuilder):
    """SD-QA, the speakers from the USA."""

    name: ClassVar[str] = "cau-sdqa"
