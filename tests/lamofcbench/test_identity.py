"""What tells code apart: revisions of this project's classes, hashes of own files and of installed distributions."""

import importlib
import sys
from pathlib import Path

import pytest

from dataset_builders.base import Builder
from harness.metrics.accuracy import Accuracy
from harness.metrics.base import METRICS, Metric
from lamofcbench.builders import BUILDERS
from lamofcbench.codecs.base import CODECS, Codec
from lamofcbench.codecs.uniform import UniformCodec
from lamofcbench.identity import family_of, identity_of, is_anonymous, joined
from lamofcbench.models.base import MODELS
from lamofcbench.models.hooks import HookedSplitModel
from lamofcbench.models.vision_heads.base import HEADS
from lamofcbench.registry import Registry, load_file
from lamofcbench.scenarios.base import SCENARIOS

# ------------------------------------------------------------------------------------------------- of this project


@pytest.mark.parametrize("registry", [CODECS, METRICS, MODELS, HEADS, BUILDERS], ids=lambda registry: registry.kind)
def test_shipped_plugins_are_named_with_a_revision(registry):
    for plugin in registry:
        revision = plugin.version if registry is BUILDERS else plugin.revision
        assert identity_of(plugin) == f"lamofcbench:{plugin.name}@{revision}"


def test_a_raised_revision_is_another_identity(monkeypatch):
    before = identity_of(UniformCodec)
    monkeypatch.setattr(UniformCodec, "revision", UniformCodec.revision + 1)
    assert identity_of(UniformCodec) != before and family_of(identity_of(UniformCodec)) == family_of(before)


def test_a_shipped_class_keeps_its_identity_wherever_it_is_moved_and_whatever_it_is_called():
    before = identity_of(Accuracy)
    moved = type("TopOne", (Accuracy,), {"__module__": "harness.metrics.elsewhere"})
    assert identity_of(moved) == before


def test_instances_have_the_identity_of_their_class():
    assert identity_of(Accuracy()) == identity_of(Accuracy)
    assert joined([Accuracy, UniformCodec]) == f"{identity_of(Accuracy)} + {identity_of(UniformCodec)}"


# --------------------------------------------------------------------------------------------------- of own files

CODEC = "from lamofcbench.codecs.uniform import UniformCodec as Base\nclass Mine(Base):\n    pass\n"


@pytest.fixture
def own(tmp_path):
    """The module of a file in the test's folder."""

    def load(source, name="mine.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
        return load_file(tmp_path / name)

    return load


def test_a_class_of_an_own_file_is_named_by_file_and_content(own):
    mine = identity_of(own(CODEC).Mine)
    assert mine.startswith("file:mine.py:Mine#") and len(mine.rpartition("#")[2]) == 16
    assert identity_of(own(CODEC + "# edited\n").Mine) != mine
    assert identity_of(own(CODEC, "folder/mine.py").Mine) == mine
    assert identity_of(own(CODEC, "other.py").Mine) != mine


def test_it_covers_the_revisions_of_what_it_inherits_from(own, monkeypatch):
    mine = own(CODEC).Mine
    before = identity_of(mine)
    monkeypatch.setattr(UniformCodec, "revision", UniformCodec.revision + 1)
    assert identity_of(mine) != before
    adapter = own("from lamofcbench.models.hooks import HookedSplitModel\nclass A(HookedSplitModel): pass\n", "a.py").A
    before = identity_of(adapter)
    monkeypatch.setattr(HookedSplitModel, "revision", HookedSplitModel.revision + 1)
    assert identity_of(adapter) != before


def test_classes_of_one_file_are_told_apart_by_the_names_under_which_it_holds_them(own):
    source = "from lamofcbench.codecs.base import Codec\ndef make():\n    class Made(Codec): pass\n    return Made\n"
    module = own(source + "One, Two = make(), make()\n")
    assert [identity_of(c).split("#")[0] for c in (module.One, module.Two)] == ["file:mine.py:One", "file:mine.py:Two"]


def test_a_shipped_class_that_an_own_file_hands_on_stays_shipped(own):
    assert identity_of(own(CODEC).Base) == identity_of(UniformCodec)


def test_a_user_class_of_a_shipped_ones_name_is_of_another_family(own):
    module = own("from lamofcbench.codecs.base import Codec\nclass UniformCodec(Codec):\n    pass\n")
    assert module.UniformCodec.name == "uniform"
    assert family_of(identity_of(module.UniformCodec)) == "file:mine.py" != family_of(identity_of(UniformCodec))


@pytest.mark.parametrize("name", ["my codec.py", "a#b.py", "a:b.py", "a+b.py", "a\nb.py"])
def test_odd_file_names_leave_the_identity_readable(own, name):
    identity = identity_of(own(CODEC, name).Mine)
    assert identity.isprintable() and " " not in identity
    assert family_of(identity) == identity.rpartition(":")[0] != identity


def test_a_scenario_is_told_apart_by_the_modules_that_its_file_imports(tmp_path, repository):
    toy = (repository / "tests" / "data" / "toy_scenario.py").read_text()
    file = tmp_path / "scenario.py"
    file.write_text(toy + "\nimport helper\n")
    (tmp_path / "helper.py").write_text("")
    scenario = SCENARIOS.get(f"{file}:TOY")
    before = scenario.digest
    (tmp_path / "helper.py").write_text("x = 1")
    assert scenario.digest == before  # of what was loaded
    assert SCENARIOS.get(f"{file}:TOY").digest != before
    assert scenario.model_copy(update={"title": "other"}).origin == file
    assert scenario.with_origin(file).digest == SCENARIOS.get(f"{file}:TOY").digest


# ------------------------------------------------------------------------------------------------------- anonymous


def test_a_class_from_nowhere_is_anonymous_and_so_is_what_inherits_from_it(own, monkeypatch):
    class Notebook(Codec):
        pass

    assert identity_of(Notebook) == "anonymous:Notebook" and is_anonymous(identity_of(Notebook))
    monkeypatch.setattr(sys.modules[__name__], "Notebook", Notebook, raising=False)
    heir = own(f"import sys\nclass Heir(sys.modules[{__name__!r}].Notebook):\n    pass\n").Heir
    assert identity_of(heir) == "anonymous:Heir"
    assert is_anonymous(f"lamofcbench:x@1 + {identity_of(heir)}") and not is_anonymous("lamofcbench:x@1")


def test_what_runs_as_a_program_is_anonymous():
    main = type("Mine", (Metric,), {"__module__": "__main__"})
    assert identity_of(main) == "anonymous:Mine"


# ------------------------------------------------------------------------------------------------------- installed


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lays a distribution out as an installer does, and imports a module of it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    known = set(sys.modules)

    def put(files, *, import_, name="Fast.Codecs", version="1.0", entry="", editable=False, top_level="", at=site):
        info = site / f"{name.lower()}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        listed = [f"__editable__.{name}.pth"] if editable else list(files)
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in listed))
        if entry:
            (info / "entry_points.txt").write_text(f"[lamofcbench.codecs]\nfast = {entry}\n")
        if top_level:
            (info / "top_level.txt").write_text(top_level)
        for file, source in files.items():
            (at / file).parent.mkdir(parents=True, exist_ok=True)
            (at / file).write_text(source)
        importlib.invalidate_caches()
        for module in set(sys.modules) - known:
            if module.partition(".")[0] in {file.partition("/")[0].removesuffix(".py") for file in files}:
                del sys.modules[module]
        return importlib.import_module(import_)

    yield put
    for module in set(sys.modules) - known:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]


FAST = {"fastcodecs/__init__.py": "", "fastcodecs/codec.py": CODEC, "fastcodecs/tables.py": "X = 1\n"}


def test_an_installed_class_is_named_by_distribution_version_and_content(install):
    mine = identity_of(install(FAST, import_="fastcodecs.codec").Mine)
    assert mine.startswith("dist:fast-codecs==1.0:Mine#") and family_of(mine) == "dist:fast-codecs"
    assert identity_of(install(FAST, import_="fastcodecs.codec").Mine) == mine
    edited = install(FAST | {"fastcodecs/tables.py": "X = 2\n"}, import_="fastcodecs.codec").Mine
    assert identity_of(edited).startswith("dist:fast-codecs==1.0:Mine#") and identity_of(edited) != mine


def test_it_covers_every_module_that_the_distribution_brings(install):
    files = {"fast_entry.py": "from fast_impl import Mine\n", "fast_impl.py": CODEC, "fast_tables.py": ""}
    mine = install(files, import_="fast_entry", entry="fast_entry:Mine").Mine
    before = identity_of(mine)
    edited = install(files | {"fast_tables.py": "X = 2"}, import_="fast_entry", entry="fast_entry:Mine").Mine
    assert before.startswith("dist:fast-codecs==1.0:Mine#") and identity_of(edited) != before
    assert identity_of(mine) == before  # of what was imported


def test_an_installed_plugin_is_hashed_when_it_is_found(install):
    registry = Registry("codec", Codec, package=None, group="lamofcbench.codecs")
    install(FAST, import_="fastcodecs.codec", entry="fastcodecs.codec:Mine")
    found = registry.get("mine")
    (Path(sys.modules["fastcodecs"].__file__).parent / "tables.py").write_text("X = 2\n")
    assert identity_of(found) == identity_of(install(FAST, import_="fastcodecs.codec").Mine)


def test_an_editable_installation_is_hashed_as_it_is_now(install, tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.syspath_prepend(str(project))
    for how in ({"entry": "fastcodecs.codec:Mine"}, {"top_level": "fastcodecs\n"}):
        kwargs = {"import_": "fastcodecs.codec", "editable": True, "at": project} | how
        before = identity_of(install(FAST, **kwargs).Mine)
        after = identity_of(install(FAST | {"fastcodecs/tables.py": "X = 2\n"}, **kwargs).Mine)
        assert before.startswith("dist:fast-codecs==1.0:Mine#") and before != after


def test_in_a_namespace_package_only_the_plugins_own_part_counts(install):
    files = {"company/fast/__init__.py": "", "company/fast/codec.py": CODEC}
    kwargs = {"import_": "company.fast.codec", "entry": "company.fast.codec:Mine"}
    mine = identity_of(install(files, **kwargs).Mine)
    assert mine.startswith("dist:fast-codecs==1.0:Mine#")
    install({"company/slow/__init__.py": ""}, import_="company.slow", name="slow")
    assert identity_of(install(files, **kwargs).Mine) == mine


def test_a_namesake_of_an_installed_module_is_not_it(install, tmp_path, monkeypatch):
    install(FAST, import_="fastcodecs.codec")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "fastcodecs").mkdir(parents=True)
    (elsewhere / "fastcodecs" / "__init__.py").write_text("")
    (elsewhere / "fastcodecs" / "codec.py").write_text(CODEC)
    for module in ("fastcodecs.codec", "fastcodecs"):
        del sys.modules[module]
    monkeypatch.syspath_prepend(str(elsewhere))
    assert identity_of(importlib.import_module("fastcodecs.codec").Mine) == "anonymous:Mine"


def test_a_builder_of_an_own_file_keeps_its_revision_method(own):
    source = (
        "from dataset_builders.base import Builder\nclass Mine(Builder):\n    name = 'mine'\n"
        "    def revision(self):\n        return 'r'\n"
    )
    assert identity_of(own(source).Mine).startswith("file:mine.py:Mine#")
    assert identity_of(Builder) == "lamofcbench:Builder@1"
