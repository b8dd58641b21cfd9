"""One small real run and its submission, shared by all; a test that spoils one spoils a copy."""

import dataclasses
import shutil

import pytest
from doctoring import Doctored, edit_json
from huggingface_hub import HfApi
from reviewing import REPO

from harness.running.decoding_process import FailedThereError
from harness.running.decoding_worker import facts_of
from harness.running.environment import seed_everything
from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from harness.submission import merged, reencode, refit, replay
from harness.submission import review as review_module
from harness.submission import validate as validate_module
from harness.submission.findings import Findings
from harness.submission.manifest import MANIFEST_FILE, submission_digest
from harness.submission.pack import Author, pack
from harness.submission.review import review
from harness.submission.validate import Scrutiny, validate, verdict_of
from lamofcbench.codecs.registry import load_saved, make_codecs
from lamofcbench.codecs.sensitivity import Sensitivity
from lamofcbench.errors import CodecError, VerificationError

SEED = 7
AUTHOR = Author(
    name="my-uniform",
    display_name="My uniform",
    organisation="Institute of Things",
    link="https://example.org/my-uniform",
    commit="0123456789abcdef0123456789abcdef01234567",
)


@pytest.fixture(scope="session")
def run_results(toy, toy_data, decoder, tmp_path_factory):
    """Two rate points of a shipped codec that learns, with anchor and floor."""
    folder = tmp_path_factory.mktemp("submitted") / "results"
    settings = RunSettings(results=folder, data=toy_data, progress=False)
    codecs = [make_codecs(f"uniform:step={step}", toy.specs)[0] for step in (0.25, 1.0)]
    ScenarioRunner(toy, settings, decoder=decoder).run(codecs)
    return folder


@pytest.fixture(scope="session")
def author():
    return AUTHOR


@pytest.fixture(scope="session")
def packed(run_results, author, tmp_path_factory):
    """The submission's folder; no test changes it."""
    return pack(run_results, tmp_path_factory.mktemp("packed"), author)


@pytest.fixture
def submission(packed, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(packed, tmp_path / "submissions" / packed.name)


OWN = """
from lamofcbench.codecs.zstd import ZstdCodec

class Own(ZstdCodec):
    name = "own"

    def quantise_features(self, features):
        return {name: tensor / 2 for name, tensor in features.tensors.items()}
"""


@pytest.fixture(scope="session")
def packed_own(run_results, toy, toy_data, decoder, tmp_path_factory):
    """The submission of a codec with its own source; no test changes it."""
    root = tmp_path_factory.mktemp("own")
    (root / "own.py").write_text(OWN)
    results = shutil.copytree(run_results, root / "results")
    settings = RunSettings(results=results, data=toy_data, progress=False)
    ScenarioRunner(toy, settings, decoder=decoder).run_codec(make_codecs(f"{root / 'own.py'}:Own", toy.specs)[0])
    return pack(results, root / "packed", Author(), "own")


@pytest.fixture
def own_codec(packed_own, tmp_path):
    """A copy of that to spoil."""
    return shutil.copytree(packed_own, tmp_path / "submissions" / packed_own.name)


@pytest.fixture(scope="session")
def scrutiny(toy, toy_data):
    """A batch of each result is decoded and predicted anew."""
    return Scrutiny(data=toy_data, scenarios=(toy,), seed=SEED)


class DecodesHere:
    """Stands for the process that decodes apart, where a test is about something else: no message is sent."""

    is_running = True

    def __init__(self, limits=None):
        pass

    def ready(self):
        pass

    def load(self, saved, *, trust_code, threads=1, since=None):
        try:
            self.codec = load_saved(saved, trust_code=trust_code)
        except CodecError as error:
            raise VerificationError(str(error)) from error
        self.facts = facts_of(self.codec)
        return self.codec.fingerprint.hex()

    def decode(self, data, *, seconds, most_bytes):
        return self.codec.decode(data)

    def encode(self, features, *, seconds, most_bytes, seeds=None):
        return self.codec.encode(features)

    def quantised(self, features, *, seconds, most_bytes):
        return self.codec.quantised(features)

    def fit(self, saved, calibration, sensitivity, *, trust_code, threads, seed, seconds, most_bytes, afresh=True):
        codec = load_saved(saved, trust_code=trust_code)
        seed_everything(seed)
        known = sensitivity and Sensitivity.load(sensitivity, codec.specs)
        try:
            return type(codec)(codec.specs, codec.params).fit(calibration, known).state
        except CodecError as error:
            raise FailedThereError(str(error)) from error

    def close(self):
        pass


@pytest.fixture
def decodes_here():
    """Its class, for a decoder that misbehaves."""
    return DecodesHere


@pytest.fixture(autouse=True)
def _decodes_here(monkeypatch):
    monkeypatch.setattr(validate_module, "DecodingProcess", DecodesHere)


@pytest.fixture
def verdict_on(scrutiny):
    """What a submission comes to; keywords say how closely to look."""
    return lambda folder, decoder=None, **closer: validate(folder, dataclasses.replace(scrutiny, **closer), decoder)


@pytest.fixture
def made_elsewhere(monkeypatch):
    """Results count as made on another processor, which may round otherwise."""
    for module in (replay, reencode, refit):
        monkeypatch.setattr(module, "is_elsewhere", lambda claim, opened: True)


@pytest.fixture
def doctored(submission, toy):
    """One rate point to spoil."""
    return Doctored(submission, toy)


@pytest.fixture
def refused(verdict_on, submission):
    """Asserts that a submission is refused for a fault of this file that says this, about this sample."""

    def check(file, what, sample=None, **closer):
        verdict = verdict_on(submission, **closer)
        assert verdict.level == "refused"
        named = [fault for fault in verdict.faults if fault.file.endswith(file) and what in fault.fault]
        assert named, "\n".join(map(str, verdict.faults))
        if sample is not None:
            assert [fault for fault in named if fault.sample == sample], "\n".join(map(str, named))
        return verdict

    return check


# ----------------------------------------------------------------------------------------------------------- reviews


@pytest.fixture
def api(hub):
    hub.repository(REPO)
    return HfApi()


@pytest.fixture
def reviewed(api, scrutiny):
    """Reviews all; outcomes by number."""
    return lambda **options: {one.request.num: one for one in review(api, REPO, scrutiny, **options)}


@pytest.fixture
def slight(packed, tmp_path):
    """A submission of nothing but its manifest, for what does not depend on all else."""
    folder = tmp_path / "slight" / packed.name
    folder.mkdir(parents=True)
    shutil.copyfile(packed / MANIFEST_FILE, folder / MANIFEST_FILE)
    return folder


@pytest.fixture
def renamed(slight, tmp_path):
    """The same with another content."""
    folder = shutil.copytree(slight, tmp_path / "renamed" / slight.name)
    edit_json(folder / MANIFEST_FILE, lambda manifest: manifest.update(display_name="Renamed"))
    return folder


@pytest.fixture
def judged(slight, monkeypatch):
    """In place of validation: every other content than the first one is refused; returns how closely it looked."""
    return judging(slight, monkeypatch)


@pytest.fixture
def own_source(slight, monkeypatch):
    """The same of a codec with its own source, which is consistent without trust."""
    return judging(slight, monkeypatch, needs_trust=True)


def judging(slight, monkeypatch, needs_trust=False):
    good, looks = submission_digest(slight), []

    def judge(folder, scrutiny, tell):
        findings = Findings(folder)
        findings.count("manifests read", 1, 1)
        if needs_trust and not scrutiny.trust_code:
            findings.count("codecs", 0, 1, "it is run with --trust-code alone")
        looks.append(str(scrutiny.looked))
        if submission_digest(folder) != good:
            findings.fault(MANIFEST_FILE, "is another one")
        return verdict_of(folder.name, submission_digest(folder), findings, looked=scrutiny.looked)

    for module in (review_module, merged):
        monkeypatch.setattr(module, "validate", judge)
    return looks


@pytest.fixture
def discussions(hub, api):
    return hub.repositories["dataset", REPO].discussions
