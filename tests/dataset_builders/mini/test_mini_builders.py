import shutil
import subprocess
import sys

import numpy as np
import pytest

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini.digits.clean import DigitsBuilder, sample_of
from dataset_builders.mini.digits.plan import digits_plan
from lamofcbench import builders
from lamofcbench.scenarios.base import SCENARIOS

BUILDERS = [builder for builder in builders.BUILDERS if issubclass(builder, MiniBuilder)]


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_splits_share_no_content_and_no_id(builder_class):
    builder = builder_class()
    splits = [builder.samples("test"), builder.samples("calibration")]
    for key in (builder.content_hash, lambda sample: sample.id):
        parts = [{key(sample) for sample in split} for split in splits]
        assert [len(part) for part in parts] == [len(split) for split in splits]
        assert not parts[0] & parts[1]


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_splits_have_the_declared_sizes(builder_class):
    builder, scenario = builder_class(), SCENARIOS.get(builder_class.name)
    assert len(builder.samples("test")) == scenario.test_samples
    assert len(builder.samples("calibration")) == scenario.calibration_samples


def test_no_digit_of_the_splits_trains_the_classifier():
    builder = DigitsBuilder()
    trained = {builder.content_hash(sample_of(digit)) for digit in digits_plan().training}
    assert len(trained) == 900
    for split in ("test", "calibration"):
        assert not trained & {builder.content_hash(sample) for sample in builder.samples(split)}


def test_digit_samples_are_read_only_grey_images():
    sample = DigitsBuilder().samples("calibration")[0]
    assert sample.inputs.shape == (24, 24, 3) and sample.inputs.dtype == np.uint8
    assert not sample.inputs.flags.writeable
    assert (sample.inputs[..., :1] == sample.inputs).all()
    assert isinstance(sample.reference, int)


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_revision_follows_the_version_and_the_weights(builder_class, tmp_path, monkeypatch):
    builder = builder_class()
    revision = builder.revision()
    assert revision == builder_class().revision()
    monkeypatch.setattr(builder_class, "version", builder_class.version + 1)
    assert builder.revision() != revision
    monkeypatch.undo()
    folder = tmp_path / builder.model_name
    shutil.copytree(builder.model_directory(), folder)
    monkeypatch.setattr(builder_class, "model_directory", lambda self: folder)
    assert builder.revision() == revision
    for path in folder.rglob("*.safetensors"):
        weights = path.read_bytes()
        path.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
        assert builder.revision() != revision, path.name
        path.write_bytes(weights)


def test_looking_for_builders_imports_nothing_heavy():
    code = (
        "import sys; from lamofcbench.builders import BUILDERS; BUILDERS.names(); "
        "print([m for m in ('transformers', 'tokenizers', 'sklearn', 'diffusers', 'soundfile') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
