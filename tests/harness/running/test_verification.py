"""Which samples are decoded in another process, what that finds, and what it leaves in a result."""

import contextlib
import os
import re
import tempfile
import textwrap
from multiprocessing import shared_memory
from pathlib import Path

import pytest

import lamofcbench
from harness.running import verification
from harness.running.decoding_process import DecodingProcess as FreshProcess
from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from harness.running.verification import draw
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import CODECS, make_codecs
from lamofcbench.errors import LaMoFCBenchError, VerificationError

# --------------------------------------------------------------------------------------------------- which samples


def test_the_draw_depends_on_the_configuration_alone():
    first = draw("0123456789abcdef", count=3, reported=50, test_samples=200)
    assert first == draw("0123456789abcdef", count=3, reported=50, test_samples=200)
    assert len(first.samples) == 3 and max(first.samples) < 50 and list(first.samples) == sorted(set(first.samples))
    assert len({draw(f"{n:016x}", 3, 50, 200).samples for n in range(20)}) > 15


def test_what_any_report_of_the_configuration_draws_was_a_candidate_when_it_was_computed():
    for reported in range(1, 201):
        drawn = draw("0123456789abcdef", count=3, reported=reported, test_samples=200)
        assert len(drawn.samples) == min(3, reported) and set(drawn.samples) <= drawn.candidates
    assert len(drawn.candidates) < 40  # three and a harmonic sum, not all


def test_every_sample_is_drawn_equally_often():
    counts = [0] * 10
    for n in range(3000):
        for index in draw(f"{n:016x}", 2, 10, 10).samples:
            counts[index] += 1
    assert min(counts) > 500 and max(counts) < 700


def test_nothing_is_drawn_where_none_is_wanted():
    assert draw("0" * 16, 0, 5, 5) == verification.Draw((), frozenset())


# ---------------------------------------------------------------------------------------------------------- cheats

HEAD = """
import hashlib, json, os, random, socket, sys, tempfile, time
from multiprocessing import shared_memory
from pathlib import Path
import lamofcbench, safetensors.torch, torch
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.features import tensor_bytes

FOLDER, DATA, SCENARIO, PROCESS = Path({folder!r}), {data!r}, {scenario!r}, {process!r}
KEPT = dict()

def elsewhere():
    return os.getpid() != PROCESS

class Cheat(IdentityCodec):
    paper = "none"
"""
BESIDE = """
    def encode_tensor(self, spec, tensor):
        payload = super().encode_tensor(spec, tensor)
        name = hashlib.sha256(payload).hexdigest()[:12]
        KEPT[name] = payload
        self.leave(name, payload)
        return name.encode()

    def decode_tensor(self, spec, payload, shape):
        return super().decode_tensor(spec, self.find(payload.decode()), shape)

    def leave(self, name, payload):
        pass
"""
"""Sends the name of a payload; the payload goes another way."""

CHEATS = {
    "a global": """
        def find(self, name): return KEPT[name]
    """,
    "the class": """
        kept = dict()
        def leave(self, name, payload): type(self).kept[name] = payload
        def find(self, name): return self.kept[name]
    """,
    "a default argument": """
        def memory(self, kept={}): return kept
        def leave(self, name, payload): self.memory()[name] = payload
        def find(self, name): return self.memory()[name]
    """,
    "the interpreter": """
        def leave(self, name, payload): sys.__dict__.setdefault("kept", dict())[name] = payload
        def find(self, name): return sys.kept[name]
    """,
    "the temporary folder": """
        def place(self, name): return Path(tempfile.gettempdir(), "cheat-" + name)
        def leave(self, name, payload): self.place(name).write_bytes(payload)
        def find(self, name): return self.place(name).read_bytes()
    """,
    "a known file": """
        def leave(self, name, payload): (FOLDER / name).write_bytes(payload)
        def find(self, name): return (FOLDER / name).read_bytes()
    """,
    "a file of tensors": """
        def leave(self, name, payload):
            kept = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
            safetensors.torch.save_file({"kept": kept}, FOLDER / name)
        def find(self, name): return tensor_bytes(safetensors.torch.load_file(FOLDER / name)["kept"])
    """,
    "names of files": """
        def leave(self, name, payload): (FOLDER / f"{name}-{payload.hex()[:200]}").touch()
        def find(self, name):
            if not elsewhere(): return KEPT[name]
            return bytes.fromhex(next(n for n in os.listdir(FOLDER) if n.startswith(name)).partition("-")[2])
    """,
    "the saved folder": """
        def place(self, name): return Path(__file__).parents[1] / name
        def leave(self, name, payload): self.place(name).write_bytes(payload)
        def find(self, name): return self.place(name).read_bytes()
    """,
    "the saved config": """
        def config(self): return Path(__file__).parents[1] / "config.json"
        def leave(self, name, payload):
            kept = {**json.loads(self.config().read_text()), name: payload.hex()}
            self.config().write_text(json.dumps(kept))
        def find(self, name): return bytes.fromhex(json.loads(self.config().read_text())[name])
    """,
    "the saved state": """
        def file(self): return Path(__file__).parents[1] / "model.safetensors"
        def noted(self):
            with safetensors.safe_open(self.file(), "pt") as opened: return opened.metadata() or {}
        def leave(self, name, payload):
            safetensors.torch.save_file({}, self.file(), {**self.noted(), name: payload.hex()})
        def find(self, name): return bytes.fromhex(self.noted()[name])
    """,
    "a package": """
        def place(self, name): return Path(lamofcbench.__file__).with_name("cheat-" + name)
        def leave(self, name, payload): self.place(name).write_bytes(payload)
        def find(self, name): return self.place(name).read_bytes()
    """,
    "shared memory": """
        def leave(self, name, payload):
            KEPT["shared", name] = shared_memory.SharedMemory("cheat-" + name, create=True, size=len(payload))
            KEPT["shared", name].buf[:len(payload)] = payload
        def find(self, name):
            if not elsewhere(): return KEPT[name]
            return bytes(shared_memory.SharedMemory("cheat-" + name).buf)
    """,
    "the environment": """
        def leave(self, name, payload): os.environ["OMP_" + name] = payload.hex()
        def find(self, name): return bytes.fromhex(os.environ["OMP_" + name])
    """,
    "a socket": """
        def find(self, name):
            if not elsewhere(): return KEPT[name]
            with socket.create_connection(("127.0.0.1", 9)) as connection: return connection.recv(2 ** 16)
    """,
    "the encoder's process": """
        def find(self, name):
            return KEPT[name] if not elsewhere() else Path(f"/proc/{PROCESS}/environ").read_bytes()
    """,
    "the test data": """
        def find(self, name):
            if not elsewhere(): return KEPT[name]
            for features in lamofcbench.open_split(SCENARIO, "test", DATA):
                for tensor in features.tensors.values():
                    if hashlib.sha256(tensor_bytes(tensor)).hexdigest()[:12] == name: return tensor_bytes(tensor)
    """,
    "test data built anew": """
        def find(self, name):
            return KEPT[name] if not elsewhere() else lamofcbench.open_split("mini-cvu-digits", "test")
    """,
    "the model": """
        def find(self, name):
            if not elsewhere(): return KEPT[name]
            from lamofcbench.models.loading import load_model
            load_model(lamofcbench.SCENARIOS.get("mini-cvu-digits"))
    """,
    "the mini edition's builders": """
        def find(self, name):
            if not elsewhere(): return KEPT[name]
            import dataset_builders.mini
    """,
}
WHY = {
    "a known file": "a decoder has no access to it: '",
    "a file of tensors": "a decoder has no access to it: '",
    "names of files": "a decoder has no access to it: '",
    "a package": "a decoder has no access to it: '",
    "shared memory": "a decoder has no access to it: '/cheat-",
    "a socket": "a decoder has no network",
    "the encoder's process": "a decoder has no access to it: '/proc/",
    "the test data": "a decoder has no access to the data of toy-directions",
    "test data built anew": "a decoder has no access to the data of mini-cvu-digits",
    "the model": "a decoder has no access to the model of mini-cvu-digits",
    "the mini edition's builders": "a decoder has no access to dataset_builders.mini",
}


@pytest.fixture
def write_codec(tmp_path, toy, toy_file, toy_data):
    """Writes the body of a user's codec to a file and returns the codec."""

    def write(body):
        folder = tmp_path / "user"
        folder.mkdir(exist_ok=True)
        head = HEAD.format(folder=str(folder), data=str(toy_data), scenario=toy_file, process=os.getpid())
        (folder / "cheat.py").write_text(head + textwrap.indent(textwrap.dedent(body), "    "))
        return make_codecs(f"{folder / 'cheat.py'}:Cheat", toy.specs)[0]

    yield write
    for folder in (Path(tempfile.gettempdir()), Path(lamofcbench.__file__).parent):
        for path in folder.glob("cheat-*"):
            path.unlink()
    for path in Path("/dev/shm").glob("cheat-*"):
        shared_memory.SharedMemory(path.name).unlink()


@pytest.mark.parametrize("way", CHEATS)
def test_payloads_that_travel_beside_the_bitstream_are_found(make_runner, write_codec, way, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    codec = write_codec(textwrap.dedent(BESIDE) + textwrap.dedent(CHEATS[way]))
    runner = make_runner(limit=4)
    with pytest.raises(VerificationError) as error:
        runner.run_codec(codec)
    message = str(error.value)
    assert re.match(r"toy-directions sample \d \(test-\d\): codec 'cheat' does not decode in another process", message)
    assert "tensor 'hidden'" in message and WHY.get(way, "") in message and "\n" not in message
    assert not list(runner.settings.results.rglob("result.json"))  # nothing is announced


def test_what_an_encoder_left_is_found_by_the_run_that_goes_on_too(toy, write_codec, make_runner):
    """The second run computes nothing: all was encoded before the process that decodes for it began."""
    codec = write_codec(textwrap.dedent(BESIDE) + textwrap.dedent(CHEATS["a package"]))
    settings = make_runner(limit=4).settings
    for _ in range(2):
        with contextlib.closing(FreshProcess()) as fresh, pytest.raises(VerificationError, match="no access to it"):
            ScenarioRunner(toy, settings, decoder=fresh).run_codec(codec)


RANDOM = {
    "torch": "torch.rand(()) * 1e-3",
    "Python": "random.random() * 1e-3",
    "the clock": "time.time() % 1e-3",
    "the process": "os.getpid() * 1e-6",
}


@pytest.mark.parametrize("source", RANDOM)
def test_a_decoder_that_draws_at_random_is_found(make_runner, write_codec, source):
    codec = write_codec(
        f"""
        def decode_tensor(self, spec, payload, shape):
            values = super().decode_tensor(spec, payload, shape)
            return values + {RANDOM[source]} if spec.name == "hidden" else values
        """
    )
    with pytest.raises(VerificationError, match=r"codec 'cheat' decodes tensor 'hidden' to other values in another"):
        make_runner(limit=4).run_codec(codec)


def test_a_decoder_that_remembers_the_sample_before_is_found(make_runner, write_codec):
    codec = write_codec(
        """
        last = 0.0
        def decode_tensor(self, spec, payload, shape):
            values = super().decode_tensor(spec, payload, shape)
            if spec.name == "hidden":
                return values
            self.last, before = float(values.float().sum()), self.last
            return values + before
        """
    )
    with pytest.raises(VerificationError, match=r"decodes tensor 'key.0' to other values"):
        make_runner().run_codec(codec)


def test_what_a_decoder_was_refused_is_told_where_it_goes_on_without(make_runner, write_codec):
    codec = write_codec(
        """
        def decode_tensor(self, spec, payload, shape):
            values = super().decode_tensor(spec, payload, shape)
            if spec.name == "hidden":
                (FOLDER / "secret").touch()
            try:
                return values + len((FOLDER / "secret").read_bytes())
            except FileNotFoundError:
                return values + 1
        """
    )
    with pytest.raises(VerificationError, match=r"than were scored \(it was refused: .*secret'\)$"):
        make_runner(limit=4).run_codec(codec)


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("sys.exit()", "SystemExit"),
        ("os._exit(3)", "the process ends with status 3"),
        ("time.sleep(1000)", "it has not answered after 1 s"),
    ],
)
def test_a_codec_that_ends_or_blocks_the_process_is_named(make_runner, write_codec, monkeypatch, deed, message):
    monkeypatch.setattr(verification, "LEAST_SECONDS", 1.0)
    codec = write_codec(
        f"""
        def decode_tensor(self, spec, payload, shape):
            if elsewhere(): {deed}
            return super().decode_tensor(spec, payload, shape)
        """
    )
    with pytest.raises(VerificationError, match=f"codec 'cheat' does not decode in another process, .*{message}"):
        make_runner(limit=4).run_codec(codec)


def test_a_codec_that_loads_nowhere_else_is_named(make_runner, write_codec):
    codec = write_codec("table = Path(__file__).stat() if not elsewhere() else (FOLDER / 'table').read_bytes()")
    with pytest.raises(VerificationError, match=r"codec 'cheat' does not load in another process, .*table"):
        make_runner(limit=4).run_codec(codec)


# -------------------------------------------------------------------------------------------------- honest codecs


def test_an_honest_codec_may_use_files_and_programs_of_its_own_and_print(make_runner, write_codec, capfd):
    codec = write_codec(
        """
        def decode_tensor(self, spec, payload, shape):
            import subprocess
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "payload").write_bytes(payload)
                copy = subprocess.run(["cat", Path(folder, "payload")], capture_output=True, check=True).stdout
            if elsewhere():
                print("on standard output")
                os.write(1, b"and once more")
                assert sys.stdin.read() == ""
            return super().decode_tensor(spec, copy, shape)
        """
    )
    verified = make_runner(limit=4).run_codec(codec).result.verification
    assert (verified.samples, verified.reason) == (3, "")
    assert capfd.readouterr().out == ""


def test_the_process_learns_no_path_of_the_user_or_the_run(make_runner, write_codec, tmp_path, toy_data):
    codec = write_codec(
        f"""
        def decode_tensor(self, spec, payload, shape):
            if elsewhere():
                own = [*os.environ.values(), *os.environ, *sys.argv, *sys.path, os.getcwd(), os.path.expanduser("~")]
                own.append(Path("/proc/self/cmdline").read_text() if Path("/proc/self").exists() else "")
                assert not [text for text in own if {str(tmp_path)!r} in text or {str(toy_data)!r} in text], own
                assert not os.listdir(os.path.expanduser("~")) and not os.listdir(os.getcwd())
                assert not os.listdir(tempfile.gettempdir()) and not os.listdir(os.environ["LAMOFCBENCH_CACHE"])
                assert os.environ["HF_HUB_OFFLINE"] == "1" and "PYTEST_CURRENT_TEST" not in os.environ
                assert torch.get_num_threads() == 2
            return super().decode_tensor(spec, payload, shape)
        """
    )
    assert make_runner(limit=4, threads=2).run_codec(codec).result.verification.samples == 3


@pytest.mark.parametrize("spec", ["uniform:step=0.5", "sz3:tolerance=0.1", "vvc:qp=32"])
def test_shipped_codecs_verify_those_too_that_start_programs(make_runner, toy, spec):
    if CODECS.get(spec.partition(":")[0]).unavailable():
        pytest.skip("not installed")
    codec = make_codecs(spec, toy.specs)[0]
    assert make_runner(limit=4).run_codec(codec).result.verification.samples == 3


def test_a_class_from_nowhere_is_run_and_said_not_to_be_verified(make_runner, toy):
    class Notebook(IdentityCodec):
        """Only this process knows it."""

    verified = make_runner(limit=4).run_codec(Notebook(toy.specs)).result.verification
    assert verified.samples == 0 and "put it into a file" in verified.reason


def test_an_object_of_a_class_in_a_file_is_verified(make_runner, write_codec):
    codec = write_codec("")
    assert make_runner(limit=4).run_codec(type(codec)(codec.specs)).result.verification.samples == 3


class Untouchable:
    """A process that nobody may need."""

    def load(self, *arguments, **options):
        raise AssertionError


def test_switched_off_no_process_is_asked_and_the_result_says_so(toy, toy_data, tmp_path):
    settings = RunSettings(results=tmp_path, data=toy_data, limit=4, verify_samples=0, progress=False)
    finished = ScenarioRunner(toy, settings, decoder=Untouchable()).run_codec(IdentityCodec(toy.specs))
    verified = finished.result.verification
    assert (verified.samples, verified.reason) == (0, "switched off by --verify-samples 0")
    with pytest.raises(LaMoFCBenchError, match="verify_samples is -1"):
        RunSettings(results=tmp_path, verify_samples=-1)


# -------------------------------------------------------------------------------------------- resume and evidence


@pytest.mark.parametrize("bitstreams", [True, False])
def test_limits_and_interruptions_verify_what_an_undisturbed_run_does(
    make_runner, toy, tmp_path, snapshot, killed_after, bitstreams
):
    codec = make_codecs("uniform:step=0.5", toy.specs)[0]
    whole = make_runner(results=tmp_path / "whole", bitstreams=bitstreams).run_codec(codec)
    assert whole.result.verification.samples == 3
    make_runner(limit=6, bitstreams=bitstreams).run_codec(codec)
    revive = killed_after(2)
    with pytest.raises(KeyboardInterrupt):
        make_runner(bitstreams=bitstreams).run_codec(codec)
    revive()
    make_runner(bitstreams=bitstreams).run_codec(codec)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")
    assert (whole.folder / "bitstreams").exists() == bitstreams and not (whole.folder / "journal").exists()


def test_what_was_computed_without_evidence_is_computed_again(make_runner, toy, computed_batches):
    codec = IdentityCodec(toy.specs)
    make_runner(limit=8, bitstreams=False, verify_samples=0).run_codec(codec)
    computed_batches.clear()
    finished = make_runner(bitstreams=False).run_codec(codec)
    drawn = draw(finished.folder.name, 3, 22, 22).samples
    assert computed_batches == sorted({index // 4 for index in drawn} | {2, 3, 4, 5})


def test_a_failed_verification_is_tried_again_and_leaves_an_earlier_result_alone(make_runner, toy, monkeypatch):
    codec = IdentityCodec(toy.specs)
    shorter = make_runner(limit=6).run_codec(codec)
    before = (shorter.folder / "result.json").read_bytes()

    def otherwise(features):
        return {"digests": dict.fromkeys(features.tensors, "0"), "side": {}}

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(verification, "evidence_of", otherwise)
            with pytest.raises(VerificationError, match="decodes tensor 'hidden' to other values"):
                make_runner().run_codec(codec)
    assert (shorter.folder / "result.json").read_bytes() == before
    assert make_runner().run_codec(codec).result.verification.samples == 3
