"""The process that decodes apart: what it is given, and how it ends."""

import io
import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from harness.running import decoding_process
from harness.running.decoding_process import DecodingProcess
from harness.running.decoding_worker import MAX_MESSAGE_BYTES, features_of, receive, send
from lamofcbench.codecs.conformance import SPECS, make_sample
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.digests import digest
from lamofcbench.errors import VerificationError


@pytest.fixture
def saved(tmp_path):
    """A saved codec, and a bitstream with its features."""
    codec = make_codecs("zstd", SPECS)[0]
    features = make_sample("typical", 5, 1)
    return codec.save(tmp_path / "codec"), codec.encode(features), features


def test_it_decodes_to_the_same_bits_dtypes_shapes_and_side_information(decoder, saved):
    folder, data, features = saved
    assert decoder.load(folder, trust_code=False) == make_codecs("zstd", SPECS)[0].fingerprint.hex()
    for sample in (features, make_sample("heavy", 0, 0), make_sample("typical", 1, 3)):
        data = make_codecs("zstd", SPECS)[0].encode(sample)
        decoded = decoder.decode(data, seconds=60, most_bytes=sample.raw_bits // 8)
        assert digest(decoded) == digest(sample) and list(decoded) == list(sample)
    assert decoder.refused == []


def test_errors_come_back_in_one_line_and_it_goes_on(decoder, saved):
    folder, data, features = saved
    decoder.load(folder, trust_code=False)
    with pytest.raises(VerificationError, match=r"^bitstream is damaged or truncated"):
        decoder.decode(data[:-1], seconds=60, most_bytes=10**6)
    assert digest(decoder.decode(data, seconds=60, most_bytes=10**6)) == digest(features)
    with pytest.raises(VerificationError, match=f"^there is no saved codec {folder}-nowhere"):
        decoder.load(Path(f"{folder}-nowhere"), trust_code=False)
    (folder / "config.json").write_text("{")
    with pytest.raises(VerificationError, match=f"^{folder} is no saved codec"):  # not where its copy was
        decoder.load(folder, trust_code=False)


def test_a_codec_with_source_needs_trust(decoder, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from lamofcbench.codecs.zstd import ZstdCodec\nclass Mine(ZstdCodec):\n    pass\n")
    folder = make_codecs(f"{file}:Mine", SPECS)[0].save(tmp_path / "codec")
    with pytest.raises(VerificationError, match="--trust-code"):
        decoder.load(folder, trust_code=False)
    assert decoder.load(folder, trust_code=True)


CURIOUS = """
from pathlib import Path
import torch
from safetensors.torch import load_file
from lamofcbench.codecs.zstd import ZstdCodec

class Curious(ZstdCodec):
    needs_calibration = True

    def learn(self, calibration):
        saved = load_file(Path(__file__).parents[1] / "model.safetensors")
        sets = [list(calibration), list(calibration)]
        return {
            "seen": torch.tensor([len(saved), *(len(each) for each in sets)]),
            "names": torch.tensor(list(",".join(sets[0][0]).encode()), dtype=torch.uint8),
            "side": torch.tensor([value for one in sets[1] for value in one.side.values()]),
            "drawn": torch.rand(3),
        }
"""


@pytest.fixture
def curious(tmp_path):
    """A saved codec that wants to know what it has learned before, and the samples of which it learned that."""
    (tmp_path / "curious.py").write_text(CURIOUS)
    samples = [make_sample("typical", size, size) for size in (3, 1)]
    codec = make_codecs(f"{tmp_path / 'curious.py'}:Curious", SPECS)[0]
    state = {"before": torch.zeros(3)}
    return type(codec)(SPECS, codec.params, state).save(tmp_path / "codec"), samples


def fit(process, saved, samples, **options):
    usual = {"trust_code": True, "threads": 1, "seed": 5, "seconds": 60, "most_bytes": 10**6}
    return process.fit(saved, samples, None, **(usual | options))


def test_it_learns_anew_from_samples_alone(curious):
    saved, samples = curious
    with DecodingProcess() as process:
        learned = fit(process, saved, samples)
        assert learned["seen"].tolist() == [0, 2, 2]  # tensors of the saved state, and samples in either pass
        assert bytes(learned["names"].tolist()).decode() == ",".join(samples[0])
        assert learned["side"].tolist() == [value for one in samples for value in one.side.values()]
        again, other = fit(process, saved, samples), fit(process, saved, samples, seed=6)
        assert torch.equal(learned["drawn"], again["drawn"]) and not torch.equal(learned["drawn"], other["drawn"])
        assert not process.is_running  # nothing of it is left to decode


def test_a_shipped_codec_learns_in_the_process_that_is_there(tmp_path):
    samples = [make_sample("typical", size, size) for size in (3, 1)]
    learned = make_codecs("kmeans:points=4", SPECS)[0].fit(samples)
    saved = learned.save(tmp_path / "codec")
    with DecodingProcess() as process:
        process.load(saved, trust_code=False)
        there = process._running
        again = fit(process, saved, samples, trust_code=False, afresh=False)
        assert process._running is there and not (there.folder / "calibration").exists()
        assert again.keys() == learned.state.keys()
        assert all(torch.equal(tensor, learned.state[name]) for name, tensor in again.items())
        assert process.load(saved, trust_code=False) == learned.fingerprint.hex()


def test_what_it_learns_has_a_limit_and_so_has_its_time(curious):
    saved, samples = curious
    with DecodingProcess() as process:
        with pytest.raises(VerificationError, match=r"bytes of features where there are 100$"):
            fit(process, saved, samples, most_bytes=100)
        with pytest.raises(VerificationError, match="--trust-code"):
            fit(process, saved, samples, trust_code=False)
        with pytest.raises(VerificationError, match="there are none"):
            fit(process, saved, [])


def test_what_it_learns_is_a_state_that_can_be_held():
    shape, nothing = [0, 2**62, 2**62], {"dtype": "F32", "data_offsets": [0, 0]}
    for header in ({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, {"a": nothing | {"shape": shape}}):
        text = json.dumps(header).encode()
        content = len(text).to_bytes(8, "little") + text + bytes(header["a"]["data_offsets"][1])
        with pytest.raises(VerificationError, match="it answers with what is no state"):
            decoding_process._state_of(bytearray(content))


def test_it_answers_no_more_than_is_asked(saved):
    with DecodingProcess() as process:
        folder, data, _ = saved
        process.load(folder, trust_code=False)
        with pytest.raises(VerificationError, match=r"bytes of features where there are 100$"):
            process.decode(data, seconds=60, most_bytes=100)
        with pytest.raises(VerificationError, match="no codec any more"):
            process.decode(data, seconds=60, most_bytes=10**6)


# ------------------------------------------------------------------------------------------- what it may not answer


def test_a_message_comes_back_as_it_was_sent():
    stream = io.BytesIO()
    send(stream, {"a": [1, "ü"]}, b"\0\1")
    stream.seek(0)
    assert receive(stream, 2) == ({"a": [1, "ü"]}, b"\0\1")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", EOFError),
        (b"\1" + bytes(14), EOFError),
        ((100).to_bytes(8, "little") + bytes(8) + b"{}", EOFError),
        ((MAX_MESSAGE_BYTES + 1).to_bytes(8, "little") + bytes(8), ValueError),
        ((2).to_bytes(8, "little") + (11).to_bytes(8, "little") + b"{}", ValueError),
        ((2**64 - 1).to_bytes(8, "little") * 2, ValueError),
        ((2).to_bytes(8, "little") + bytes(8) + b"[]", ValueError),
        ((2).to_bytes(8, "little") + bytes(8) + b"{[", ValueError),
        ((2).to_bytes(8, "little") + bytes(8) + b"\xff\xff", ValueError),
        ((200_000).to_bytes(8, "little") + bytes(8) + b"[" * 200_000, ValueError),
        ((205).to_bytes(8, "little") + bytes(8) + b'{"":' + b"[" * 100 + b"]" * 100 + b"}", ValueError),
    ],
)
def test_what_is_no_message_is_refused_before_it_is_read(message, error):
    with pytest.raises(error):
        receive(io.BytesIO(message), 10)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"tensors": [["hidden", "float32", [2]]]},
        {"tensors": [["hidden", "complex64", [1]]], "side": {}},
        {"tensors": [["hidden", "float32", [3]]], "side": {}},
        {"tensors": [["hidden", "float32", [1]]], "side": {}},
        {"tensors": [["hidden", "float32", [-1, -2]]], "side": {}},
        {"tensors": [["hidden", "float32", ["a"]]], "side": {}},
        {"tensors": [["hidden", "float32", 2]], "side": {}},
        {"tensors": 3, "side": {}},
        {"tensors": [["hidden", "float32", [2]]], "side": []},
        {"tensors": [["hidden", "float32", [2]]], "side": {"seed": None}},
        {"tensors": [["hidden", ["float32"], [2]]], "side": {}},
        {"tensors": [["hidden", "float32", [0, 2**62, 2**62]], ["other", "float32", [2]]], "side": {}},
        {"tensors": [["hidden", "float32", [2**70]]], "side": {}},
        {"tensors": [["hidden", "float32", [float("inf")]]], "side": {}},
    ],
)
def test_answers_that_are_no_features_are_refused(answer):
    with pytest.raises(VerificationError, match="it answers with what are no features"):
        DecodingProcess()._features(answer, bytearray(8))


def test_features_are_made_of_an_answers_bytes():
    answer = {"tensors": [["a", "bfloat16", [1]], ["b", "float32", [1, 1]], ["c", "float16", [0, 2]]], "side": {"n": 2}}
    content = bytearray.fromhex("803f" + "0000803f")
    features = features_of(answer, content)
    assert features["a"].dtype is torch.bfloat16 and features["a"].item() == 1.0
    assert features["b"].shape == (1, 1) and features["b"].item() == 1.0
    assert features["c"].shape == (0, 2) and dict(features.side) == {"n": 2}


# --------------------------------------------------------------------------------------------------- how it ends


def gone(pid, folder, seconds=60):
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if not folder.exists() and not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks a process up in /proc")
def test_it_ends_with_a_parent_that_is_killed_while_a_codec_hangs(tmp_path):
    file = tmp_path / "hanging.py"
    file.write_text(
        "import time\n"
        "from lamofcbench.codecs.zstd import ZstdCodec\n"
        "class Hanging(ZstdCodec):\n"
        "    def decode_features(self, payload, shapes):\n"
        "        while True: time.sleep(1)\n"
    )
    codec = make_codecs(f"{file}:Hanging", SPECS)[0]
    folder, data = codec.save(tmp_path / "codec"), codec.encode(make_sample("typical", 5, 1))
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        process = DecodingProcess()
        process.load(folder, trust_code=True)
        os.write(writing, f"{process._running._process.pid} {process._running.folder}\n".encode())
        process.decode(data, seconds=1000, most_bytes=10**6)
        os._exit(0)
    with os.fdopen(reading) as file:
        os.close(writing)
        pid, own = file.readline().split()
    assert Path(own).is_dir() and Path(f"/proc/{pid}").exists()
    time.sleep(0.3)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert gone(pid, Path(own))


def test_closing_ends_it_at_once_and_a_fork_does_not(decoder):
    with DecodingProcess() as process:
        process.start()
        pid, own = process._running._process.pid, process._running.folder
        child = os.fork()
        if child == 0:
            process.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert process._running.is_mine and own.is_dir()
    assert gone(pid, own, seconds=5)
    process.close()  # once more does no harm


def test_an_interrupt_leaves_no_answer_behind_for_the_next_question(tmp_path, monkeypatch):
    saved = make_codecs("zstd", SPECS)[0].save(tmp_path / "codec")
    features = make_sample("typical", 3, 3)
    with DecodingProcess() as process:
        process.load(saved, trust_code=False)
        real = decoding_process.receive

        def interrupted(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(decoding_process, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            process.encode(features, seconds=60, most_bytes=10**6)
        monkeypatch.setattr(decoding_process, "receive", real)
        assert not process.is_running
        process.load(saved, trust_code=False)
        data = process.encode(features, seconds=60, most_bytes=10**6)
        assert digest(process.decode(data, seconds=60, most_bytes=10**6)) == digest(features)
