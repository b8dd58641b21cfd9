"""A codec of a user's own file is saved with the modules that it imports, and comes back from these alone."""

import json
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from lamofcbench.codecs import conformance, saving
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import CODECS, load_saved, make_codecs
from lamofcbench.codecs.saving import CONFIG_FILE
from lamofcbench.errors import BitstreamError, CodecError, LaMoFCBenchError
from lamofcbench.identity import identity_of

MAIN = """
import torch
import numpy as np
from lamofcbench.codecs.base import Codec
from rounding import levels_of
import packing.wide


class MyCodec(Codec):
    rate_points = ({},)

    def encode_tensor(self, spec, tensor):
        return packing.wide.pack(levels_of(tensor))

    def decode_tensor(self, spec, payload, shape):
        from late import unpack
        return torch.from_numpy(unpack(payload) * 0.5).reshape(shape)
"""
HELPERS = {
    "rounding.py": "def levels_of(t):\n    return (t.double().numpy() * 2).round().clip(-1e9, 1e9)\n",
    "packing/__init__.py": "",
    "packing/wide.py": "from .order import ORDER\ndef pack(levels):\n    return levels.astype(ORDER).tobytes()\n",
    "packing/order.py": "ORDER = '<i4'\n",
    "late.py": "import numpy\nfrom packing import order\ndef unpack(b):\n    return numpy.frombuffer(b, order.ORDER)\n",
}
FEATURES = conformance.make_sample("typical", 6, 1)


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a codec and its helpers."""
    place = tmp_path / "mine"
    for name, source in {"my_codec.py": MAIN, **HELPERS, "unrelated.py": "raise RuntimeError"}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(source)
    return place


@pytest.fixture
def make(folder):
    """The codec as its files are now."""
    return lambda: make_codecs(f"{folder}/my_codec.py:MyCodec", conformance.SPECS)[0]


@pytest.fixture
def saved(make, tmp_path):
    return make().save(tmp_path / "saved")


def test_a_codec_with_helpers_passes_the_conformance_suite(folder):
    conformance.check_codec(CODECS.get(f"{folder}/my_codec.py:MyCodec"))


def test_it_is_saved_with_every_module_that_it_imports_and_no_other(saved):
    config = json.loads((saved / CONFIG_FILE).read_text())
    assert config["codec_source"]["main"] == "my_codec.py"
    assert set(config["codec_source"]["files"]) == {"my_codec.py", *HELPERS}
    for name, source in {"my_codec.py": MAIN, **HELPERS}.items():
        assert (saved / "source" / name).read_text() == source
    assert not (saved / "source" / "unrelated.py").exists()


def test_another_process_decodes_it_after_the_users_folder_is_gone(make, saved, folder, tmp_path):
    codec = make()
    data = codec.encode(FEATURES)
    (tmp_path / "bytes").write_bytes(data)
    shutil.rmtree(folder)
    moved = shutil.move(saved, tmp_path / "elsewhere")
    code = (
        "import sys; from lamofcbench.codecs.registry import load_saved; from lamofcbench.codecs import conformance;"
        "codec = load_saved(sys.argv[1], trust_code=True);"
        "print(conformance.digest(codec.decode(open(sys.argv[2], 'rb').read())), type(codec).__module__, sys.path)"
    )
    command = [sys.executable, "-c", code, str(moved), str(tmp_path / "bytes")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert done.stdout.split()[0] == conformance.digest(codec.decode(data))
    assert str(folder) not in done.stdout


def test_a_late_import_comes_from_the_saved_folder_and_not_from_the_users(saved, folder):
    (folder / "late.py").write_text("raise RuntimeError('of the user')")
    codec = load_saved(saved, trust_code=True)
    for file in (saved / "source").rglob("*.py"):
        file.write_text("raise RuntimeError('changed after loading')")
    assert list(codec.decode(codec.encode(FEATURES))) == list(FEATURES)


@pytest.mark.parametrize("name", ["my_codec.py", *HELPERS])
def test_an_edit_of_any_of_its_files_makes_another_codec(make, folder, name):
    before = make()
    data = before.encode(FEATURES)
    (folder / name).write_text((folder / name).read_text() + "# edited\n")
    after = make()
    assert identity_of(after) != identity_of(before) and after.fingerprint != before.fingerprint
    with pytest.raises(BitstreamError, match="another codec"):
        after.decode(data)
    before.decode(data)


def test_edits_of_other_files_and_other_places_change_nothing(make, folder, tmp_path):
    before = make()
    (folder / "unrelated.py").write_text("")
    assert make().fingerprint == before.fingerprint
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert make_codecs(f"{moved}/my_codec.py:MyCodec", conformance.SPECS)[0].fingerprint == before.fingerprint


def test_nothing_of_it_runs_unless_it_is_trusted(saved):
    with pytest.raises(CodecError, match=r"runs its own source.*--trust-code"):
        load_saved(saved)


def test_it_is_saved_again_from_what_was_loaded(saved, tmp_path):
    again = load_saved(saved, trust_code=True).save(tmp_path / "again")
    assert {p.relative_to(saved): p.read_bytes() for p in saved.rglob("*") if p.is_file()} == {
        p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()
    }


def test_links_into_a_store_are_read_as_the_hub_downloads_files(saved, tmp_path):
    linked, store = tmp_path / "snapshot", tmp_path / "blobs"
    store.mkdir()
    for number, path in enumerate(p for p in sorted(saved.rglob("*")) if p.is_file()):
        blob = store / str(number)
        blob.write_bytes(path.read_bytes())
        link = linked / path.relative_to(saved)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    assert load_saved(linked, trust_code=True).fingerprint == load_saved(saved, trust_code=True).fingerprint


def test_what_is_downloaded_covers_the_source(saved, monkeypatch):
    asked = {}
    monkeypatch.setattr(saving, "snapshot_download", lambda repo, **options: asked.update(options) or str(saved))
    assert saving.find_folder("org/name").folder == saved
    assert not any(fnmatch("points/toy@1/1/config.json", pattern) for pattern in asked["allow_patterns"])
    for path in saved.rglob("*"):
        name = path.relative_to(saved).as_posix()
        assert path.is_dir() or any(fnmatch(name, pattern) for pattern in asked["allow_patterns"]), name
    saving.find_folder("org/name", "toy@1")
    wanted = [
        any(fnmatch(f"points/{name}/1/source/a.py", p) for p in asked["allow_patterns"]) for name in ("toy@1", "b@1")
    ]
    assert wanted == [True, False]


def test_rate_points_bring_the_source_of_the_folder_and_no_other(saved, make, folder):
    point = shutil.copytree(saved, saved / "points" / "toy@1" / "1")
    found = saving.find_folder(str(saved), "toy@1")
    assert [one.folder for one in saving.rate_points_of(found, "toy@1")] == [point]
    (folder / "my_codec.py").write_text((folder / "my_codec.py").read_text() + "# which nobody reads\n")
    shutil.rmtree(point)
    make().save(point)
    with pytest.raises(CodecError, match="holds two sources, source and another one in points/toy@1/1; nothing of it"):
        saving.rate_points_of(found, "toy@1")


@pytest.mark.parametrize(
    ("called", "download", "pinned"),
    [
        ("a" * 40, {"revision": "a" * 40}, True),
        ("a" * 40, {"revision": "main"}, False),
        ("a" * 40, {}, False),
        ("main", {"revision": "main", "local_dir": "main"}, False),
        ("a" * 40, {"revision": "a" * 40, "local_dir": "a" * 40}, False),
    ],
)
def test_source_runs_at_a_commit_that_was_named_and_in_no_folder_that_is_only_called_so(
    saved, tmp_path, monkeypatch, called, download, pinned
):
    place = saved.rename(tmp_path / called)
    monkeypatch.setattr(saving, "snapshot_download", lambda repo, **options: str(place))
    if pinned:
        assert Codec.from_pretrained("org/name", trust_code=True, **download).name == "my"
        return
    named = "a{40}" if "local_dir" not in download else "COMMIT, without local_dir"
    with pytest.raises(CodecError, match=f"trusted at one commit only; .* name it org/name@{named}"):
        Codec.from_pretrained("org/name", trust_code=True, **download)


def test_a_name_with_a_revision_takes_no_other_one():
    with pytest.raises(CodecError, match="'org/name@abc' names a revision, and revision='main' another"):
        Codec.from_pretrained("org/name@abc", revision="main", trust_code=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "source" / "late.py").unlink(), "lacks source/late.py"),
        (lambda s: shutil.rmtree(s / "source"), "lacks source/"),
        (lambda s: (s / "source" / "late.py").write_text(HELPERS["late.py"] + "\n"), "source/late.py .* was changed"),
        (lambda s: (s / "source" / "extra.py").write_text(""), "holds source/extra.py, which its config does not list"),
        (lambda s: (s / "source" / "sub").mkdir(), "holds source/sub,"),
        (lambda s: (s / "source" / "packing" / "x.so").write_text(""), "holds source/packing/x.so"),
        (lambda s: (s / "source" / "loop").symlink_to(s), "holds source/loop"),
    ],
)
def test_a_source_folder_that_is_not_what_the_config_lists_is_refused(saved, damage, message):
    damage(saved)
    with pytest.raises(CodecError, match=message) as caught:
        load_saved(saved, trust_code=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py", "/etc/evil.py", "a/../../evil.py", "..\\evil.py", "a//b.py", "./a.py", "a.txt", "", ".py",
        "a/.py", "C:evil.py", "a\0b.py", "x" * 300 + ".py", "a/" * 50 + "b.py", "\ud800.py", "a/b/",
    ],
)  # fmt: skip
def test_names_that_lead_out_of_the_source_folder_are_refused(saved, name):
    config = json.loads((saved / CONFIG_FILE).read_text())
    for record in (
        {"main": "my_codec.py", "files": {**config["codec_source"]["files"], name: "0" * 64}},
        {"main": name, "files": {**config["codec_source"]["files"], name: "0" * 64}},
    ):
        (saved / CONFIG_FILE).write_text(json.dumps({**config, "codec_source": record}))
        with pytest.raises(CodecError, match=r"no relative name|lacks|cannot be read") as caught:
            load_saved(saved, trust_code=True)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [3, "x", [], {}, {"main": "my_codec.py"}, {"main": 3, "files": {}}, {"main": "my_codec.py", "files": []},
     {"main": "my_codec.py", "files": {"my_codec.py": 5}}, {"main": "x.py", "files": {"my_codec.py": "0"}},
     {"main": "my_codec.py", "files": {f"m{i}.py": "" for i in range(600)} | {"my_codec.py": ""}}],
)  # fmt: skip
def test_configs_that_do_not_say_what_the_source_is_are_refused(saved, source):
    config = json.loads((saved / CONFIG_FILE).read_text())
    (saved / CONFIG_FILE).write_text(json.dumps({**config, "codec_source": source}))
    with pytest.raises(CodecError) as caught:
        load_saved(saved, trust_code=True)
    assert "\n" not in str(caught.value)


def test_a_claim_to_be_an_installed_codec_does_not_run_the_source(saved):
    config = json.loads((saved / CONFIG_FILE).read_text())
    (saved / CONFIG_FILE).write_text(json.dumps({**config, "codec_source": None}))
    with pytest.raises(LaMoFCBenchError, match="unknown codec 'my'"):
        load_saved(saved, trust_code=True)


def test_saving_over_another_version_leaves_none_of_its_files(make, saved, folder):
    (folder / "my_codec.py").write_text(MAIN.replace("from late import unpack", "from other import unpack"))
    (folder / "other.py").write_text(HELPERS["late.py"])
    codec = make()
    codec.save(saved)
    assert load_saved(saved, trust_code=True).fingerprint == codec.fingerprint
    assert not (saved / "source" / "late.py").exists()
    CODECS.get("identity")(conformance.SPECS).save(saved)
    assert not (saved / "source").exists()


def test_saving_does_not_touch_a_source_folder_that_is_the_users(make, tmp_path):
    (tmp_path / "project" / "source").mkdir(parents=True)
    (tmp_path / "project" / "source" / "precious.txt").write_text("")
    with pytest.raises(CodecError, match="no saved codec's"):
        make().save(tmp_path / "project")
    CODECS.get("identity")(conformance.SPECS).save(tmp_path / "project")
    assert (tmp_path / "project" / "source" / "precious.txt").exists()


def test_a_codec_of_another_revision_is_told_apart_by_name(tmp_path, monkeypatch):
    codec = CODECS.get("identity")(conformance.SPECS)
    folder = codec.save(tmp_path / "saved")
    monkeypatch.setattr(type(codec), "revision", 7)
    with pytest.raises(CodecError, match="made by lamofcbench:identity@1; here is lamofcbench:identity@7"):
        load_saved(folder)
    raised = CODECS.get("identity")(conformance.SPECS)
    with pytest.raises(BitstreamError, match="another codec"):
        raised.decode(codec.encode(FEATURES))


def test_a_folder_from_before_codecs_had_an_identity_says_so(saved):
    config = json.loads((saved / CONFIG_FILE).read_text())
    old = {key: value for key, value in config.items() if key not in ("codec_identity", "codec_source")}
    (saved / CONFIG_FILE).write_text(json.dumps({**old, "codec_source_sha256": None}))
    with pytest.raises(CodecError, match="before codecs had an identity; fit and save the codec again"):
        load_saved(saved)


def test_a_copy_of_a_saved_codec_holds_the_codec_alone(make, tmp_path):
    saved = make().save(tmp_path / "saved")
    (saved / "beside.bin").write_bytes(b"payload")
    config = json.loads((saved / CONFIG_FILE).read_text())
    (saved / CONFIG_FILE).write_text(json.dumps({**config, "within": "payload"}))
    saving.copy_folder(saved, tmp_path / "copy")
    files = {path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert files == {path.relative_to(saved) for path in saved.rglob("*") if path.is_file()} - {Path("beside.bin")}
    assert json.loads((tmp_path / "copy" / CONFIG_FILE).read_text()) == config
    assert load_saved(tmp_path / "copy", trust_code=True).fingerprint == make().fingerprint
    learned = type(make())(make().specs, make().params, {"learned": torch.zeros(3)}).save(tmp_path / "learned")
    saving.copy_folder(learned, tmp_path / "unlearned", learned=False)
    assert load_saved(learned, trust_code=True).fingerprint != make().fingerprint
    assert load_saved(tmp_path / "unlearned", trust_code=True).fingerprint == make().fingerprint
    (saved / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CodecError, match=f"^saved codec in {saved} is damaged: "):
        saving.copy_folder(saved, tmp_path / "another")
