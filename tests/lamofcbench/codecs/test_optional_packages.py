"""Codecs whose packages are not installed: listed, explained, never run."""

import os
import subprocess
import sys

import pytest

from harness.commands import codecs as codecs_command
from lamofcbench.codecs import conformance
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import CODECS, make_codecs
from lamofcbench.errors import CodecError


class Starved(IdentityCodec):
    requires = ("torch", "no_such_package", "nor_this_one")
    extra = "image"


def test_what_is_missing_and_how_to_get_it_is_one_line():
    reason = Starved.unavailable()
    assert reason == (
        "codec 'starved' needs the package no_such_package and nor_this_one; "
        "install it with: pip install 'lamofcbench[image]'"
    )


def test_a_codec_without_requirements_is_available():
    assert IdentityCodec.unavailable() is None


def test_encoding_decoding_and_fitting_say_so():
    codec = Starved(conformance.SPECS)
    features = conformance.make_sample("typical", 3, 1)
    for action in (lambda: codec.encode(features), lambda: codec.decode(b""), lambda: codec.fit([features])):
        with pytest.raises(CodecError, match="lamofcbench\\[image\\]"):
            action()


@pytest.fixture
def starved_file(tmp_path):
    file = tmp_path / "starved.py"
    file.write_text(
        "from lamofcbench.codecs.identity import IdentityCodec\n"
        "class Starved(IdentityCodec):\n"
        "    requires = ('no_such_package',)\n"
    )
    return file


def test_a_run_is_refused_before_it_starts(starved_file):
    with pytest.raises(CodecError, match="pip install no_such_package"):
        make_codecs(f"{starved_file}:Starved", conformance.SPECS)


def test_the_list_shows_why_a_codec_cannot_run(starved_file):
    described = codecs_command._describe(CODECS.get(f"{starved_file}:Starved"))
    assert "no_such_package" in described["unavailable"]


def test_every_module_imports_without_the_optional_packages(repository, tmp_path):
    for package in sorted({package for codec_class in CODECS for package in codec_class.requires}):
        (tmp_path / f"{package}.py").write_text("raise ImportError('this package must be imported where it is used')")
    code = "from lamofcbench.codecs.registry import CODECS; list(CODECS)"
    path = os.pathsep.join([str(tmp_path), str(repository)])
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True)
