"""A stranger's codec gets so much memory, and no network."""

import contextlib
import json
import os
import pty
import re
import select
import socket
import sys
from pathlib import Path

import pytest
import torch

from dataset_builders import mini, small
from harness.running import confinement
from harness.running.confinement import Limits, shares_disk, unconfined
from harness.running.decoding_process import DecodingProcess
from lamofcbench.codecs.conformance import SPECS, make_sample
from lamofcbench.codecs.mean import MeanCodec
from lamofcbench.codecs.params import to_plain
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.digests import digest
from lamofcbench.errors import VerificationError

GREEDY = """
import ctypes, socket

from lamofcbench.codecs.zstd import ZstdCodec


class GreedyCodec(ZstdCodec):
    name = "greedy"

    def decode_features(self, payload, shapes):
        libc = ctypes.CDLL(None)  # past everything that Python reports
        if {memory}:
            libc.malloc.restype = ctypes.c_void_p
            if not libc.malloc(ctypes.c_size_t({memory})):
                raise MemoryError("no more")
        address = (ctypes.c_ubyte * 16)(2, 0, {high}, {low}, 127, 0, 0, 1)
        if {port} and libc.connect(libc.socket(2, 1, 0), address, 16):
            raise OSError("no way out")
        return super().decode_features(payload, shapes)
"""


@pytest.fixture(scope="module")
def confined():
    with DecodingProcess(Limits(memory_bytes=2**30)) as process:
        yield process


@pytest.fixture
def decoded(confined, tmp_path):
    """What becomes of a codec that asks for so much memory, or connects to a port."""

    def decode(memory=0, port=0):
        file = tmp_path / "greedy.py"
        file.write_text(GREEDY.format(memory=memory, port=port, high=port >> 8, low=port & 255))
        (codec,) = make_codecs(f"{file}:GreedyCodec", SPECS)
        sample = make_sample("typical", 5, 1)
        confined.load(codec.save(tmp_path / "codec"), trust_code=True)
        found = confined.decode(codec.encode(sample), seconds=60, most_bytes=sample.raw_bits // 8)
        return digest(found) == digest(sample)

    return decode


def test_within_its_limits_it_decodes(decoded):
    assert decoded(memory=2**20)


def test_more_memory_than_that_is_not_to_be_had(decoded):
    with pytest.raises(VerificationError, match="no more"):
        decoded(memory=3 * 2**30)


def test_there_is_no_network_even_for_native_code(decoded):
    if unconfined():
        pytest.skip(unconfined())
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(VerificationError, match="no way out"):
        decoded(port=server.getsockname()[1])


def test_it_encodes_too(confined, tmp_path):
    (codec,) = make_codecs("zstd", SPECS)
    sample = make_sample("typical", 5, 1)
    confined.load(codec.save(tmp_path / "codec"), trust_code=False)
    assert confined.encode(sample, seconds=60, most_bytes=2**20) == codec.encode(sample)
    points = [to_plain(codec.make_params(point)) for point in codec.rate_points]
    learns = {"needs_calibration": False, "needs_sensitivity": False}
    assert confined.facts == {"trained_on": "nothing", "lossless": True, "rate_points": points, **learns}
    with pytest.raises(VerificationError, match="bytes of features where there are 3"):
        confined.encode(sample, seconds=60, most_bytes=3)


STASHING = """
import hashlib, subprocess

from lamofcbench.codecs.zstd import ZstdCodec

PLACES = ["/tmp/lamofcbench-stash", "{left}"]


class StashingCodec(ZstdCodec):
    name = "stashing"

    def decode_features(self, payload, shapes):
        for place in PLACES:
            subprocess.run(["sh", "-c", f"cat > {{place}}"], input=payload, stderr=subprocess.DEVNULL)
        return super().decode_features(payload, shapes)


class PoorCodec(ZstdCodec):
    name = "poor"

    def decode_features(self, payload, shapes):
        found = b"".join(subprocess.run(["cat", place], capture_output=True).stdout for place in PLACES)
        if not found:
            raise ValueError("nothing was left")
        return super().decode_features(found, shapes)
"""


def test_a_codec_finds_nothing_that_another_one_left_on_the_disk(confined, tmp_path):
    if shares_disk():
        pytest.skip(shares_disk())
    file = tmp_path / "stashing.py"
    file.write_text(STASHING.format(left=tmp_path / "left"))
    rich, poor = (make_codecs(f"{file}:{name}", SPECS)[0] for name in ("StashingCodec", "PoorCodec"))
    sample = make_sample("typical", 5, 1)
    confined.load(rich.save(tmp_path / "rich"), trust_code=True)
    assert digest(confined.decode(rich.encode(sample), seconds=60, most_bytes=2**20)) == digest(sample)
    confined.close()
    confined.load(poor.save(tmp_path / "poor"), trust_code=True)
    with pytest.raises(VerificationError, match="nothing was left"):
        confined.decode(poor.encode(sample), seconds=60, most_bytes=2**20)
    assert not (tmp_path / "left").exists()


def test_a_codec_reaches_no_terminal(confined, tmp_path):
    if shares_disk():
        pytest.skip(shares_disk())
    keyboard, terminal = pty.openpty()
    (tmp_path / "stashing.py").write_text(STASHING.format(left=os.ttyname(terminal)))
    (codec,) = make_codecs(f"{tmp_path / 'stashing.py'}:StashingCodec", SPECS)
    sample = make_sample("typical", 5, 1)
    confined.close()
    confined.load(codec.save(tmp_path / "codec"), trust_code=True)
    confined.decode(codec.encode(sample), seconds=60, most_bytes=2**20)
    assert not select.select([keyboard], [], [], 1.0)[0]
    os.close(terminal)
    os.close(keyboard)


CURIOUS = """
import subprocess

from lamofcbench.codecs.zstd import ZstdCodec


class CuriousCodec(ZstdCodec):
    name = "curious"

    def decode_features(self, payload, shapes):
        found = subprocess.run(["ls", "-A", *{folders}], capture_output=True, text=True)
        raise ValueError(" ".join(found.stdout.split()) or "nothing")
"""


def test_a_codec_does_not_see_what_makes_the_test_splits_that_are_shipped(confined, tmp_path):
    if shares_disk():
        pytest.skip(shares_disk())
    folders = [str(Path(next(iter(package.__path__)))) for package in (mini, small)]
    (tmp_path / "curious.py").write_text(CURIOUS.format(folders=folders))
    (codec,) = make_codecs(f"{tmp_path / 'curious.py'}:CuriousCodec", SPECS)
    confined.close()
    confined.load(codec.save(tmp_path / "codec"), trust_code=True)
    listed = " ".join(f"{folder}:" for folder in folders)
    with pytest.raises(VerificationError, match=f"ValueError: {re.escape(listed)} "):
        confined.decode(codec.encode(make_sample("typical", 5, 1)), seconds=60, most_bytes=2**20)


STRANGER = """
import os
from pathlib import Path
from lamofcbench.codecs.mean import MeanCodec
from lamofcbench.codecs.zstd import ZstdCodec

MeanCodec.decode_features = lambda self, payload, shapes: {}

class Stranger(ZstdCodec):
    def decode_features(self, payload, shapes):
        codecs = next(path for path in Path(__file__).resolve().parents if path.name == "codecs")
        codecs.rename(codecs.with_name("moved"))
        for name in ("codecs", "calibration"):
            codecs.with_name(name).symlink_to("ELSEWHERE")
        return super().decode_features(payload, shapes)
"""


def test_what_is_loaded_behind_a_stranger_is_as_it_was_shipped_and_nothing_follows_paths_that_were_led_elsewhere(
    tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    samples = [make_sample("typical", tokens, 1) for tokens in (3, 4)]
    floor = MeanCodec(SPECS).fit(samples)
    (tmp_path / "stranger.py").write_text(STRANGER.replace("ELSEWHERE", str(elsewhere)))
    monkeypatch.setattr(MeanCodec, "decode_features", MeanCodec.decode_features)  # as the import here changes it
    stranger = make_codecs(f"{tmp_path / 'stranger.py'}:Stranger", SPECS)[0]
    monkeypatch.undo()
    saved = {codec: codec.save(tmp_path / name) for name, codec in (("floor", floor), ("stranger", stranger))}
    limits = {"seconds": 60, "most_bytes": 10**6}
    with DecodingProcess(Limits()) as process:
        for learn in (False, True):
            process.load(saved[stranger], trust_code=True)
            process.decode(stranger.encode(samples[0]), **limits)
            if learn:
                given = {"trust_code": True, "threads": 1, "seed": 0, "afresh": False}
                state = process.fit(saved[floor], samples, None, **given, **limits)
                assert all(torch.equal(state[name], floor.state[name]) for name in floor.state)
            else:
                process.load(saved[floor], trust_code=True)
                decoded = process.decode(floor.encode(samples[1]), **limits)
                assert digest(decoded) == digest(floor.decode(floor.encode(samples[1])))
    assert not list(elsewhere.iterdir())


SURVIVOR = """
import ctypes, os, shutil, threading, time
from lamofcbench.codecs.zstd import ZstdCodec

class Survivor(ZstdCodec):
    def decode_features(self, payload, shapes):
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # no signal when its parent ends
        if os.getpid() != os.getsid(0):
            os.setsid()
        os._exit = lambda code: time.sleep(60)
        shutil.rmtree = lambda *arguments, **options: None
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return super().decode_features(payload, shapes)
"""


def test_a_codec_that_will_not_end_ends(tmp_path):
    if not confinement._namespaces():
        pytest.skip("this machine lets nobody make namespaces")
    (tmp_path / "survivor.py").write_text(SURVIVOR)
    (codec,) = make_codecs(f"{tmp_path / 'survivor.py'}:Survivor", SPECS)
    sample, others = make_sample("typical", 3, 1), workers()
    with DecodingProcess(Limits()) as process:
        process.load(codec.save(tmp_path / "codec"), trust_code=True)
        process.decode(codec.encode(sample), seconds=60, most_bytes=10**6)
        mine = workers() & descendants(os.getpid()) - others  # tests beside this one have workers, too
        assert mine
    assert not workers() & mine


def workers():
    """The processes that run the worker."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"decoding_worker.py" in place.read_bytes():
                found.add(int(place.parent.name))
    return found


def descendants(process):
    """The processes that it has started, those that these have started, and so on."""
    found = set()
    for place in Path("/proc", str(process), "task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, place.read_text().split()):
                found |= {child, *descendants(child)}
    return found


LOOKING = """
import json, os, socket
from pathlib import Path
from lamofcbench.codecs.zstd import ZstdCodec

class Looking(ZstdCodec):
    def decode_features(self, payload, shapes):
        libc = __import__("ctypes").CDLL(None)  # past everything that Python reports
        seen = [place for place in PLACES if libc.access(place.encode(), 4) == 0]
        raise ValueError("sees " + json.dumps(seen))
"""


def test_a_codec_sees_programs_and_libraries_and_nothing_that_is_private(tmp_path):
    if shares_disk():
        pytest.skip(shares_disk())
    root = Path(confinement.__file__).parents[2]
    private = [tmp_path / "key", root / "pyproject.toml", root / "tests", Path("/etc/shadow")]
    private[0].write_text("a secret")
    needed = [root / "harness", Path(sys.prefix), Path("/etc/passwd"), Path("/usr/bin")]
    places = [str(place) for place in (*private, *needed) if place.exists()]
    (tmp_path / "looking.py").write_text(LOOKING.replace("PLACES", repr(places)))
    (codec,) = make_codecs(f"{tmp_path / 'looking.py'}:Looking", SPECS)
    with DecodingProcess(Limits()) as process:
        process.load(codec.save(tmp_path / "codec"), trust_code=True)
        with pytest.raises(VerificationError, match="sees") as told:
            process.decode(codec.encode(make_sample("typical", 3, 1)), seconds=60, most_bytes=10**6)
    seen = {place for place in places if json.dumps(place) in str(told.value)}
    assert {str(place) for place in needed} <= seen
    assert not seen & set(map(str, private))
