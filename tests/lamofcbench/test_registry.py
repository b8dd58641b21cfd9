import importlib.metadata
import sys
import textwrap
import types
from pathlib import Path
from typing import ClassVar

import pytest

from lamofcbench.errors import PluginError, UnknownNameError
from lamofcbench.registry import Registry, is_file_reference, load_file
from lamofcbench.user_files.modules import sources_of


class Animal:
    name: ClassVar[str]


class Dog(Animal):
    name = "dog"


class Wolf(Animal):
    name = "wolf"


class OtherDog(Animal):
    name = "dog"


class NoAnimal:
    name = "stone"


class FakeEntry:
    def __init__(self, name, plugin):
        self.name, self.value, self._plugin = name, f"somewhere:{name}", plugin

    def load(self):
        if isinstance(self._plugin, Exception):
            raise self._plugin
        return self._plugin


@pytest.fixture
def install(monkeypatch):
    """A registry over entry points that another distribution might declare."""

    def registry(*plugins, package=None):
        entries = [FakeEntry(f"entry{i}", plugin) for i, plugin in enumerate(plugins)]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries if group == "zoo" else [])
        return Registry("animal", Animal, package=package, group="zoo")

    return registry


def module_of(*plugins):
    module = types.ModuleType("zoo_module")
    for plugin in plugins:
        here = type(plugin.__name__, plugin.__bases__, {**vars(plugin), "__module__": "zoo_module"})
        setattr(module, plugin.__name__, here)
    return module


# ------------------------------------------------------------------------------------------- installed plugins


def test_entry_points_are_found_by_the_plugins_own_name(install):
    animals = install(Dog, Wolf)
    assert animals.names() == ["dog", "wolf"] and animals.get("wolf") is Wolf
    assert list(animals) == [Dog, Wolf]


def test_an_entry_point_may_be_a_module_of_plugins(install):
    assert install(module_of(Dog, Wolf)).names() == ["dog", "wolf"]


def test_a_module_brings_what_it_defines_and_not_what_it_imports(install):
    module = module_of(Dog)
    module.Wolf = Wolf
    assert install(module).names() == ["dog"]


def test_built_ins_are_the_modules_of_a_package(install, tmp_path, monkeypatch):
    package = tmp_path / "zoo_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    base = f"import sys\nAnimal = sys.modules[{__name__!r}].Animal\n"
    (package / "cat.py").write_text(base + "class Cat(Animal):\n    name = 'cat'\n")
    (package / "_private.py").write_text("raise RuntimeError('never imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    animals = install(Dog, package="zoo_package")
    assert animals.names() == ["cat", "dog"]


def test_two_plugins_of_one_name_are_an_error_whoever_brings_them(install):
    with pytest.raises(PluginError, match=r"two animals are named 'dog'; .*entry1"):
        install(Dog, OtherDog).names()


def test_the_same_plugin_twice_is_no_collision(install):
    assert install(Dog, Dog).names() == ["dog"]


@pytest.mark.parametrize("plugin", [NoAnimal, Animal, 3])
def test_entry_points_that_are_no_plugin_are_an_error(install, plugin):
    with pytest.raises(PluginError, match=r"is not an? animal"):
        install(plugin).names()


def test_entry_points_that_fail_to_import_are_an_error_that_names_them(install):
    with pytest.raises(PluginError, match=r"entry0.*of zoo fails: no torch"):
        install(ImportError("no torch")).names()


# ----------------------------------------------------------------------------------------------- wrong names


def test_unknown_names_get_near_matches(install):
    with pytest.raises(UnknownNameError, match="unknown animal 'wofl'; did you mean 'wolf'") as caught:
        install(Dog, Wolf).get("wofl")
    assert "\n" not in str(caught.value) and "entry point zoo" in str(caught.value)


def test_unknown_names_with_no_near_match_get_the_list(install):
    with pytest.raises(UnknownNameError, match="known: dog, wolf"):
        install(Dog, Wolf).get("xyz")


@pytest.mark.parametrize(
    ("listing", "told"),
    [("zoo list", "unknown animal 'xyz'; `zoo list` lists the 13 that are known"),
     ("", "unknown animal 'xyz'; known: beast00, .*, beast11 and 1 more")],
)  # fmt: skip
def test_many_names_are_left_to_the_command_that_lists_them(listing, told):
    with pytest.raises(UnknownNameError, match=told):
        raise UnknownNameError("animal", "xyz", [f"beast{number:02}" for number in range(13)], listing=listing)


# ------------------------------------------------------------------------------------------------- own files


@pytest.mark.parametrize(
    ("name", "is_reference"),
    [
        ("my.py:Thing", True),
        ("./a dir/my.py:Thing", True),
        ("~/my.py:Thing", True),
        ("my.py", False),
        ("my.py:", False),
        ("my.py:3x", False),
        ("uniform", False),
        ("uniform:step=1", False),
        ("org/name", False),
    ],
)
def test_references_to_files_are_recognised(name, is_reference):
    assert is_file_reference(name) is is_reference


@pytest.fixture
def animal_file(tmp_path):
    file = tmp_path / "my_animals.py"
    source = f"""
    import sys
    Animal = sys.modules[{__name__!r}].Animal

    class Horse(Animal):
        name = "horse"

    class Stone:
        name = "stone"
    """
    file.write_text(textwrap.dedent(source))
    return file


def test_a_plugin_in_a_users_file_needs_no_registration(install, animal_file):
    assert install().get(f"{animal_file}:Horse").name == "horse"


def test_relative_references_start_at_the_file_in_which_they_stand(install, animal_file):
    scenario_file = animal_file.parent / "my_scenario.py"
    assert install().get("my_animals.py:Horse", relative_to=scenario_file).name == "horse"
    assert install().get(":Horse", relative_to=animal_file).name == "horse"


@pytest.mark.parametrize(
    ("attribute", "error", "message"),
    [
        ("Hrose", UnknownNameError, "animal in my_animals.py: 'Hrose'; did you mean 'Horse'"),
        ("Stone", PluginError, "Stone is not a concrete subclass of Animal"),
        ("sys", PluginError, "sys is not a concrete subclass of Animal"),
    ],
)
def test_what_is_wrong_in_a_users_file_is_said(install, animal_file, attribute, error, message):
    with pytest.raises(error, match=message):
        install().get(f"{animal_file}:{attribute}")


def test_files_that_are_missing_or_fail_are_one_clear_error(install, tmp_path):
    with pytest.raises(PluginError, match="no file"):
        install().get(f"{tmp_path}/none.py:Horse")
    (tmp_path / "bad.py").write_text("import no_such_module_anywhere\n")
    with pytest.raises(PluginError, match=r"bad\.py fails to import: ModuleNotFoundError"):
        install().get(f"{tmp_path}/bad.py:Horse")
    assert not [name for name in sys.modules if name.startswith("_lamofcbench_file_bad_")]


def test_a_file_is_imported_once_and_again_when_it_changed(animal_file):
    first = load_file(animal_file)
    assert load_file(animal_file) is first
    animal_file.write_text(animal_file.read_text() + "\nCHANGED = True\n")
    assert load_file(animal_file) is not first and load_file(animal_file).CHANGED


def test_source_is_what_was_run_even_if_the_file_changes(animal_file):
    before = animal_file.read_bytes()
    horse = load_file(animal_file).Horse
    animal_file.write_text("")
    assert sources_of(horse) == {"my_animals.py": before}
    assert sources_of(Dog) is None


def test_a_file_alone_is_answered_with_what_it_holds(tmp_path, monkeypatch):
    from lamofcbench.codecs.base import CODECS

    monkeypatch.chdir(tmp_path)
    file = Path("own.py")
    file.write_text(
        textwrap.dedent(
            """
            from lamofcbench.codecs.base import Codec
            from lamofcbench.codecs.identity import IdentityCodec  # not the file's own


            class One(Codec):
                pass


            class Two(Codec):
                pass
            """
        )
    )
    with pytest.raises(PluginError, match=r"holds 2 codecs; name 'own\.py:One' or 'own\.py:Two'"):
        CODECS.get(str(file))
    file.write_text("")
    with pytest.raises(PluginError, match="holds no codec"):
        CODECS.get(str(file))
    with pytest.raises(UnknownNameError):
        CODECS.get("absent.py")
