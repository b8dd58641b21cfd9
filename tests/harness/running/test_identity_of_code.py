"""Code that decides a figure has an identity: edit a file or upgrade a plugin, and the figure is computed anew."""

import importlib
import logging
import sys
import textwrap

import pytest

from harness.metrics.base import METRICS
from harness.results.result import HASHED_FIELDS
from harness.results.store import config_hash, find_results
from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from lamofcbench.codecs.registry import load_saved, make_codecs
from lamofcbench.errors import PluginError
from lamofcbench.scenarios.base import SCENARIOS

SCENARIO = """
from lamofcbench.scenarios.base import Backbone, Scenario, TensorSpec

MINE = Scenario(
    id="signs-of-sums", version=1, edition="user", category="other", title="Signs of sums",
    backbone=Backbone(adapter="model.py:Summing", source="."), splits=(0,),
    tensors=(TensorSpec(name="x", role="hidden", shape=(4,), dtype="float32"),),
    prediction="label", metric="metric.py:Agreement", direction="up", batch_size=4, test_samples=8,
    calibration_samples=4, licence="CC0-1.0", builder="builder.py:Drawing",
)
"""
FILES = {
    "scenario.py": SCENARIO,
    "metric.py": """
        from harness.metrics.base import ShareCorrect
        from judging import agrees

        class Agreement(ShareCorrect):
            name, direction, range = "agreement", "up", (0.0, 1.0)

            def statistics(self, prediction, reference):
                return {"correct": float(agrees(prediction, reference))}
        """,
    "judging.py": "def agrees(a, b):\n    return a == b\n",
    "model.py": """
        from lamofcbench.models.base import SplitModel
        from lamofcbench.features import FeatureSet
        from parts.tails import sign

        class Summing(SplitModel):
            name = "summing"

            @classmethod
            def load(cls, scenario, directory, device):
                return cls()

            def front(self, inputs):
                return FeatureSet({"x": inputs})

            def tail(self, batch):
                return [sign(features["x"]) for features in batch]

            def full(self, inputs):
                return sign(inputs)

            def front_modules(self):
                return []
        """,
    "parts/__init__.py": "",
    "parts/tails.py": "from .deep import total\ndef sign(x):\n    return int(total(x) > 0)\n",
    "parts/deep.py": "def total(x):\n    return float(x.sum())\n",
    "builder.py": """
        import hashlib
        from dataset_builders.base import Builder
        from lamofcbench.builders import Sample
        from drawing import values

        class Drawing(Builder):
            name = "drawing"

            def samples(self, split):
                made = [values(split, i) for i in range({"test": 8, "calibration": 4}[split])]
                return [Sample(f"{split}-{i}", x, int(x.sum() > 0)) for i, x in enumerate(made)]

            def content_hash(self, sample):
                return hashlib.sha256(sample.inputs.numpy().tobytes()).hexdigest()

            def revision(self):
                return "r1"
        """,
    "drawing.py": """
        import torch

        def values(split, index):
            sign = 1 if index % 2 else -1
            return sign * torch.arange(1.0, 5.0) + 0.01 * index + (0.5 if split == "test" else 0.0)
        """,
    "unrelated.py": "",
}


@pytest.fixture
def project(tmp_path):
    """A user's folder: scenario, metric, split model and builder in files of their own, with helpers."""
    folder = tmp_path / "project"
    for name, source in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(source))
    return folder


@pytest.fixture
def runner_of(project, tmp_path):
    """A runner of the project as its files are now, over data in the cache."""

    def make(**settings):
        scenario = SCENARIOS.get(f"{project / 'scenario.py'}:MINE")
        return ScenarioRunner(scenario, RunSettings(**{"results": tmp_path / "results", "progress": False} | settings))

    return make


def edit(path, old="", new="# edited\n"):
    text = path.read_text()
    path.write_text(text.replace(old, new) if old else text + new)


def identity_codec(runner):
    return make_codecs("identity", runner.scenario.specs)[0]


CODE = ("metric_identity", "adapter_identity", "builder_identity")


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("metric.py", {"metric_identity"}),
        ("judging.py", {"metric_identity"}),
        ("model.py", {"adapter_identity", "builder_identity"}),  # its front makes the features
        ("parts/tails.py", {"adapter_identity", "builder_identity"}),
        ("parts/deep.py", {"adapter_identity", "builder_identity"}),
        ("builder.py", {"builder_identity"}),
        ("drawing.py", {"builder_identity"}),
        ("unrelated.py", set()),
    ],
)
def test_an_edit_is_computed_anew_the_anchor_too_and_names_what_changed(
    runner_of, project, computed_batches, file, changed
):
    before = runner_of().run([])
    edit(project / file)
    computed_batches.clear()
    after = runner_of().run([])
    assert computed_batches == (4 * [0, 1])[: 4 if changed else 0]
    for old, new in ((before.anchor, after.anchor), (before.floor, after.floor)):
        assert {name for name in CODE if getattr(old.result, name) != getattr(new.result, name)} == changed
        assert (old.folder != new.folder) == bool(changed)
        assert config_hash(new.result.config) == new.result.config_hash == new.folder.name
    assert len(find_results(runner_of().settings.results)) == (4 if changed else 2)


def test_identities_name_files_and_classes_but_no_place(runner_of):
    result = runner_of().run([]).anchor.result
    assert result.codec.identity == "lamofcbench:identity@1"
    assert result.metric_identity.startswith("file:metric.py:Agreement#")
    assert result.adapter_identity.startswith("file:model.py:Summing#")
    assert result.builder_identity.split(" + ")[0].startswith("file:builder.py:Drawing#")
    assert result.builder_identity.split(" + ")[1] == result.adapter_identity
    assert "/" not in "".join(getattr(result, name) for name in CODE)


def test_everything_that_a_result_is_hashed_over_stands_in_it(runner_of):
    runner = runner_of()
    assert set(runner.config_of(identity_codec(runner).fingerprint)) == {*HASHED_FIELDS, "fingerprint"}


def test_an_edited_builder_makes_its_data_anew(runner_of, project):
    before = runner_of().test.features(0)["x"].clone()
    edit(project / "drawing.py", "0.01 * index", "0.02 * index + 1")
    assert runner_of().test.features(0)["x"].tolist() == (before + 1).tolist()


def test_a_codec_is_fitted_anew_on_data_that_an_edited_builder_made(runner_of, project):
    def mean():
        runner = runner_of()
        folder = runner.run_codec(make_codecs("mean", runner.scenario.specs)[0]).folder
        (value,) = load_saved(folder / "codec").state.values()
        return value.flatten()[0].item()

    before = mean()
    edit(project / "drawing.py", "0.01 * index", "0.01 * index + 1")  # and revision() still says r1
    assert mean() == pytest.approx(before + 1)


def test_data_in_a_folder_of_their_own_are_warned_of_when_other_code_built_them(
    runner_of, project, tmp_path, caplog, computed_batches
):
    runner = runner_of()
    from lamofcbench.builders import BUILDERS

    def build():
        BUILDERS.get("builder.py:Drawing", relative_to=project / "scenario.py")().build(
            runner.scenario, tmp_path / "data", progress=False
        )

    build()
    with caplog.at_level(logging.WARNING, "lamofcbench"):
        first = runner_of(data=tmp_path / "data").run([])
    assert not caplog.records
    edit(project / "drawing.py")
    computed_batches.clear()
    with caplog.at_level(logging.WARNING, "lamofcbench"):
        again = runner_of(data=tmp_path / "data").run([])
    assert "the data were built by file:builder.py:Drawing#" in caplog.text and "build them again" in caplog.text
    assert computed_batches == [] and again.anchor == first.anchor  # the figures are still those of these data
    build()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "lamofcbench"):
        rebuilt = runner_of(data=tmp_path / "data").run([])
    assert not caplog.records and rebuilt.anchor.folder != first.anchor.folder


def test_a_metric_that_is_edited_during_a_run_counts_as_it_was_loaded(runner_of, project):
    runner = runner_of()
    edit(project / "judging.py", "a == b", "True")
    floor = make_codecs("mean", runner.scenario.specs)[0]
    during, after = runner.run_codec(floor).result, runner_of().run_codec(floor).result
    assert (during.score, after.score) == (0.5, 1.0)
    assert during.metric_identity != after.metric_identity


def test_a_split_model_that_is_edited_before_it_is_loaded_ends_the_run(runner_of, project):
    runner = runner_of()
    _ = runner.test
    edit(project / "parts" / "deep.py")
    with pytest.raises(PluginError, match=r"split model 'model\.py:Summing' were edited during the run; rerun"):
        runner.run([])
    runner_of().run([])


def test_processes_that_loaded_different_files_stop_at_once(runner_of, project):
    leader = runner_of()
    edit(project / "metric.py")
    other = runner_of()
    other.team.from_leader = lambda work: leader.code
    with pytest.raises(PluginError, match="edited while the processes started; rerun the same command"):
        other.run([])


def test_a_metric_that_nothing_identifies_is_computed_every_time(runner_of, computed_batches, monkeypatch):
    from harness.metrics.accuracy import Accuracy
    from harness.results import scoring

    class Notebook(Accuracy):
        pass

    monkeypatch.setattr(scoring, "make_metric", lambda scenario: Notebook())
    for _ in range(2):
        runner = runner_of()
        assert runner.run_codec(identity_codec(runner)).result.metric_identity == "anonymous:Notebook"
    assert computed_batches == 2 * [0, 1]


def test_a_raised_revision_of_a_shipped_metric_is_computed_anew(make_runner, toy, computed_batches, monkeypatch):
    codec = make_codecs("identity", toy.specs)[0]
    before = make_runner().run_codec(codec)
    monkeypatch.setattr(METRICS.get("accuracy"), "revision", METRICS.get("accuracy").revision + 1)
    computed_batches.clear()
    after = make_runner().run_codec(codec)
    assert computed_batches == list(range(6)) and after.folder != before.folder


# ------------------------------------------------------------------------------------------------ installed plugins


@pytest.fixture
def plugin(tmp_path, monkeypatch, decoder):
    """Installs, and upgrades, a distribution that brings a metric and a codec; returns what installs a version."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    registries = {"metrics": METRICS, "codecs": importlib.import_module("lamofcbench.codecs.base").CODECS}

    def install(version, judging="a == b"):
        for old in site.glob("*.dist-info"):
            (old / "METADATA").unlink()
            (old / "entry_points.txt").unlink()
            old.rmdir()
        info = site / f"fine_plugins-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Fine_Plugins\nVersion: {version}\n")
        entries = "".join(f"[lamofcbench.{kind}]\nfine = fine_plugins.{kind}\n" for kind in registries)
        (info / "entry_points.txt").write_text(entries)
        package = site / "fine_plugins"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("")
        (package / "judging.py").write_text(f"def agrees(a, b):\n    return {judging}\n")
        metric = textwrap.dedent(FILES["metric.py"]).replace("from judging", "from fine_plugins.judging")
        (package / "metrics.py").write_text(metric)
        (package / "codecs.py").write_text(
            "from lamofcbench.codecs.identity import IdentityCodec\nclass FineCodec(IdentityCodec):\n    pass\n"
        )
        importlib.invalidate_caches()
        for name in [name for name in sys.modules if name.partition(".")[0] == "fine_plugins"]:
            del sys.modules[name]
        forget()

    def forget():
        decoder.close()  # it has imported what was installed when it started
        for registry in registries.values():
            registry._found = None

    yield install
    forget()


def test_an_upgraded_plugin_is_computed_anew(runner_of, project, plugin, computed_batches):
    edit(project / "scenario.py", "metric.py:Agreement", "agreement")

    def run():
        computed_batches.clear()
        runner = runner_of()
        codec = make_codecs("fine", runner.scenario.specs)[0]
        done = runner.run([codec])
        return done.anchor.result, done.points[0].result, len(computed_batches)

    plugin("1.0")
    anchor, point, batches = run()
    assert batches == 6
    assert anchor.metric_identity.startswith("dist:fine-plugins==1.0:Agreement#")
    assert point.codec.identity.startswith("dist:fine-plugins==1.0:FineCodec#")
    plugin("1.0")
    assert run() == (anchor, point, 0)
    seen = {point.codec.fingerprint}
    for version, judging in (("1.1", "a == b"), ("1.1", "b == a")):  # the second as an editable installation changes
        plugin(version, judging)
        anchor, point, batches = run()
        assert batches == 6 and f"=={version}:" in anchor.metric_identity
        assert point.codec.fingerprint not in seen
        seen.add(point.codec.fingerprint)
