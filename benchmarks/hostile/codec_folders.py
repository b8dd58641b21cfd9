"""Saved codecs that nobody saved so, most of them with the fingerprint that their content should have."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

from safetensors.torch import load

from benchmarks.hostile.files import Files, Template, written
from benchmarks.hostile.honest import COSTLY, Source, made_up_features, odd_source
from benchmarks.hostile.json_mutations import mutate_json
from benchmarks.hostile.mutations import mutate
from benchmarks.hostile.safetensors_mutations import mutate_safetensors
from benchmarks.hostile.targets import codec_names
from lamofcbench.codecs.base import CODECS
from lamofcbench.codecs.conformance import _section_count, craft
from lamofcbench.codecs.registry import load_saved
from lamofcbench.codecs.saving import CONFIG_FILE, STATE_FILE
from lamofcbench.scenarios.base import FeatureSpecs


class CodecTemplate:
    """A codec's folder. What loads has to decode a stream with a container of its own, and to encode.

    Args:
        source: the codec, and streams of it.
    """

    readers: Mapping[str, float] = {"load_saved": 1.0}

    def __init__(self, source: Source) -> None:
        self._source = source
        with tempfile.TemporaryDirectory() as folder:
            source.codec.save(folder)
            self.files: Files = written(Path(folder))

    def damage(self, random: Random) -> tuple[str, Files]:
        """The config or the state changed, and mostly a fingerprint that fits."""
        files = dict(self.files)
        name = random.choice((CONFIG_FILE, STATE_FILE))
        if name == STATE_FILE:
            files[name] = mutate_safetensors(files[name], random)
        elif random.random() < 0.8:
            files[name] = mutate_json(files[name], random)
        else:
            files[name] = mutate(files[name], files[STATE_FILE][:1024], random)
        if random.random() < 0.02:
            del files[name]
        forged = random.random() < 0.75 and _forge(files)
        return f"{name}{' with a forged fingerprint' if forged else ''} of {self._source.label}", files

    def read(self, folder: Path, reader: str) -> str | None:
        """Loads the codec and uses it."""
        codec = load_saved(folder)
        stream = self._source.streams[-1]
        if len(codec.specs.axes) == len(stream.sizes):
            count = _section_count(codec)
            codec.decode(
                craft(codec, stream.sizes, [*stream.sections[:count], *[b""] * (count - len(stream.sections))])
            )
        if codec.specs == self._source.codec.specs:
            codec.decode(codec.encode(made_up_features(codec.specs, stream.sizes, 3)))
        return None


def codec_templates() -> dict[Template, float]:
    """Every codec's folder; those of large networks and of processes seldom."""
    templates: dict[Template, float] = {}
    for name in codec_names():
        templates[CodecTemplate(odd_source(name))] = 1 if name in COSTLY else 5
    return templates


def _forge(files: dict[str, bytes]) -> bool:
    """Puts the fingerprint in the config that the folder's content has, where it can be a codec at all."""
    try:
        config = json.loads(files[CONFIG_FILE])
        codec_class = CODECS.get(config["codec"])
        specs = FeatureSpecs.model_validate(config["feature_specs"])
        params = codec_class.make_params(config["codec_params"])
        codec = codec_class(specs, params, load(files[STATE_FILE]))
        config["fingerprint"] = codec.fingerprint.hex()
        files[CONFIG_FILE] = json.dumps(config).encode()
    except (Exception, RecursionError):  # nothing that could have a fingerprint
        return False
    return True
