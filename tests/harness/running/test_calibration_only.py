"""Whatever learns sees calibration samples alone: with every test split out of reach, each codec learns the same."""

import json
import shutil

import pytest

from harness.cli import main
from harness.running import fitting
from lamofcbench.codecs import conformance
from lamofcbench.codecs.registry import CODECS
from lamofcbench.digests import digest
from lamofcbench.errors import DataError, LaMoFCBenchError
from lamofcbench.features import FeatureSet
from lamofcbench.storage import open_split, reader
from lamofcbench.storage.calibration import Calibration
from lamofcbench.storage.layout import json_checksum

LEARNERS = [codec.name for codec in CODECS if codec.needs_calibration and codec.unavailable() is None]


class TestSplitOpenedError(AssertionError):
    """Raised where a test split is opened."""

    __test__ = False


@pytest.fixture(scope="module")
def crippled_data(toy, toy_data, tmp_path_factory):
    """The toy data without their test split's files."""
    folder = tmp_path_factory.mktemp("no-test") / "data"
    shutil.copytree(toy_data, folder)
    removed = [path for path in folder.rglob("test*") if path.is_file()]
    assert removed
    for path in removed:
        path.unlink()
    with pytest.raises(DataError):
        open_split(toy, "test", folder)
    return folder


@pytest.fixture
def guarded(monkeypatch):
    """Opening any test split fails the test; what was opened is listed."""
    opened = []
    original = reader.SplitReader.__init__

    def guard(self, scenario, split, source):
        opened.append(split)
        if split != "calibration":
            raise TestSplitOpenedError(split)
        original(self, scenario, split, source)

    monkeypatch.setattr(reader.SplitReader, "__init__", guard)
    return opened


def codec_of(name, toy, weights):
    codec_class = CODECS.get(name)
    params = dict(codec_class.rate_points[0])
    if weights is not None and name in ("hyperprior", "elic"):
        params = {"lmbda": 0.02, "weights": str(weights / name)}
    return codec_class(toy.specs, codec_class.make_params(params))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of both networks, so that fitting does not hang on what ships."""
    import torch
    from safetensors.torch import save_file

    from harness.training.storage import compact
    from lamofcbench.codecs.learned.networks import NETWORKS

    folder = tmp_path_factory.mktemp("weights")
    for name, widths in (("hyperprior", (4, 6)), ("elic", (4, 20))):
        torch.manual_seed(0)
        (folder / name).mkdir()
        save_file(compact(NETWORKS[name](*widths).state_dict(), "fp32"), folder / name / "0.02.safetensors")
    return folder


class MadeUp:
    """Stands in for the sensitivity of a tail that shows no responses."""

    def __init__(self, scenario, data):
        self.scenario, self.data = scenario, data

    def computed(self):
        return conformance.sensitivity(self.scenario.specs, Calibration(self.scenario, self.data))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_codec_learns_the_same_where_no_test_split_can_be_opened(
    name, toy, toy_data, crippled_data, weights, guarded
):
    whole, crippled = (
        fitting.fit(codec_of(name, toy, weights), Calibration(toy, data), seed=0, tail=MadeUp(toy, data))
        for data in (toy_data, crippled_data)
    )
    assert whole.state and whole.fingerprint == crippled.fingerprint
    assert set(guarded) == {"calibration"}


def test_training_opens_calibration_splits_alone(toy_file, crippled_data, tmp_path, guarded):
    arguments = (
        f"train hyperprior --scenarios {toy_file} --data {crippled_data} --output {tmp_path} --lmbda 0.02 --widths 4,6 "
        "--crop 64 --batch-size 2 --steps 2 --quiet --debug"
    )
    assert main(arguments.split()) == 0
    assert set(guarded) == {"calibration"}
    samples = json.loads((tmp_path / "0.02.json").read_text())["scenarios"][0]["samples"]
    assert samples == len(Calibration(toy_scenario(toy_file), crippled_data))


def toy_scenario(toy_file):
    from lamofcbench.scenarios.base import SCENARIOS

    return SCENARIOS.get(toy_file)


def test_what_learning_is_handed_has_no_door_to_a_split(toy, toy_data):
    calibration = Calibration(toy, toy_data)
    assert len(calibration) == toy.calibration_samples
    assert all(isinstance(features, FeatureSet) for features in calibration)
    public = {name for name in dir(calibration) if not name.startswith("_")}
    assert public == {"builder_identity", "content_sha256", "count", "data_revision", "features", "index", "scenario"}
    with pytest.raises(TypeError):
        Calibration(toy, toy_data, "test")


def test_a_codec_that_writes_to_what_it_learns_from_changes_nothing_for_the_next_pass(toy, toy_data):
    calibration = Calibration(toy, toy_data)
    stored = [digest(features) for features in open_split(toy, "calibration", toy_data)]
    for given in (*calibration, *calibration[:], calibration[0], calibration.features(1)):
        given["hidden"].zero_()
    assert [digest(features) for features in calibration] == stored


def test_a_dataset_without_calibration_samples_is_an_error(toy, toy_data, tmp_path):
    shutil.copytree(toy_data, tmp_path / "data")
    manifest = tmp_path / "data" / toy.id / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["splits"]["calibration"]
    manifest.write_text(json.dumps({**content, "checksum": json_checksum(content)}))
    with pytest.raises(LaMoFCBenchError, match="calibration"):
        Calibration(toy, tmp_path / "data")
