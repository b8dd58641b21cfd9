"""Weights load from every form in which they are published, and nothing else does."""

from __future__ import annotations

import contextlib
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks_for_tests import small_network
from safetensors.torch import save_file

from lamofcbench.codecs.learned.checkpoints import find_checkpoint, load_network, read_state
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.errors import CodecError
from lamofcbench.storage.integrity import file_sha256


def same(network, state):
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("key", ["network", "state_dict", "model_state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_checkpoints_load(tmp_path, key, prefix):
    state = small_network("hyperprior").state_dict()
    content = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({key: content, "epoch": 3} if key else content, tmp_path / "x.pth.tar")
    assert same(load_network("hyperprior", tmp_path / "x.pth.tar"), state)


@pytest.mark.parametrize("name", NETWORKS)
def test_safetensors_load(tmp_path, name):
    state = small_network(name).state_dict()
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / "x.safetensors")
    assert same(load_network(name, tmp_path / "x.safetensors"), state)


def test_small_formats_load_as_float32(tmp_path):
    kernel = torch.tensor([[[[-127, 64]]], [[[1, 0]]]], dtype=torch.int8)
    stored = {
        "kernel": kernel,
        "kernel.scale": torch.tensor([0.5, 0.25]).reshape(2, 1, 1, 1),
        "half": torch.tensor([1.5]).half(),
        "mask": torch.tensor([True, False]),
        "table": torch.tensor([3], dtype=torch.int32),
    }
    save_file(stored, tmp_path / "x.safetensors")
    state = read_state(tmp_path / "x.safetensors")
    assert state["kernel"].flatten().tolist() == [-63.5, 32.0, 0.25, 0.0]
    assert {name: tensor.dtype for name, tensor in state.items()} == {
        "kernel": torch.float32, "half": torch.float32, "mask": torch.float32, "table": torch.int32,
    }  # fmt: skip
    save_file({"kernel": kernel}, tmp_path / "y.safetensors")
    with pytest.raises(CodecError, match=r"y\.safetensors: 'kernel' is int8 and has no scale"):
        read_state(tmp_path / "y.safetensors")


@pytest.fixture
def shared(tmp_path):
    """Two files of weights, of which the second shares all but one tensor with the first."""
    state = {key: tensor.contiguous() for key, tensor in small_network("hyperprior").state_dict().items()}
    save_file(state, tmp_path / "0.02.safetensors")

    def second(base="0.02.safetensors", digest=None, name="0.01.safetensors"):
        digest = file_sha256(tmp_path / "0.02.safetensors") if digest is None else digest
        save_file({"g_a.0.bias": state["g_a.0.bias"] + 1}, tmp_path / name, {"base": base, "base_sha256": digest})
        return tmp_path / name

    return state, second


def test_weights_are_completed_by_those_they_share(shared):
    state, second = shared
    assert same(load_network("hyperprior", second()), state | {"g_a.0.bias": state["g_a.0.bias"] + 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "0" * 64}, "absent or another file"),
        ({"base": "0.5.safetensors"}, "absent or another file"),
        ({"base": "../0.02.safetensors"}, "names no safetensors file beside it"),
        ({"base": "0.02.pth.tar"}, "names no safetensors file beside it"),
        ({"base": ""}, "names no safetensors file beside it"),
    ],
)
def test_shared_weights_are_checked(shared, changes, message):
    _, second = shared
    with pytest.raises(CodecError, match=message):
        read_state(second(**changes))


def test_shared_weights_may_not_share_in_turn(shared):
    _, second = shared
    first = second()
    with pytest.raises(CodecError, match="lacks weights itself"):
        read_state(second(first.name, file_sha256(first), "0.004.safetensors"))


class Harmful:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_runs_no_code(tmp_path, capsys):
    torch.save({"network": Harmful()}, tmp_path / "x.pth.tar")
    with pytest.raises(CodecError, match="cannot be read as weights"):
        read_state(tmp_path / "x.pth.tar")
    (tmp_path / "y.pth.tar").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CodecError, match="cannot be read as weights"):
        read_state(tmp_path / "y.pth.tar")
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("file", ["x.pth.tar", "x.safetensors"])
def test_what_is_no_checkpoint_is_one_clear_error(tmp_path, file):
    for content in (b"", b"no checkpoint", bytes(1000)):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(CodecError, match=file) as error:
            read_state(tmp_path / file)
        assert "\n" not in str(error.value)
        assert "weights_only" not in str(error.value)  # torch advises to load such files unsafely
    torch.save({"network": {"a": 1}}, tmp_path / "z.pth.tar")
    with pytest.raises(CodecError, match="no state dict"):
        read_state(tmp_path / "z.pth.tar")


def test_a_file_of_the_other_network_names_what_does_not_fit(tmp_path):
    torch.save(small_network("elic").state_dict(), tmp_path / "x.pth.tar")
    with pytest.raises(CodecError, match=r"x\.pth\.tar: these weights are no ScaleHyperprior: 'g_a\.\d"):
        load_network("hyperprior", tmp_path / "x.pth.tar")


def test_weights_are_found_by_rate_point(tmp_path):
    (tmp_path / "elic").mkdir()
    for path in (tmp_path / "0.004.safetensors", tmp_path / "elic" / "0.01.safetensors"):
        path.touch()
    assert find_checkpoint("elic", 0.004, str(tmp_path)) == tmp_path / "0.004.safetensors"
    assert find_checkpoint("elic", 0.01, str(tmp_path)) == tmp_path / "elic" / "0.01.safetensors"
    assert find_checkpoint("elic", 0.5, str(tmp_path / "0.004.safetensors")) == tmp_path / "0.004.safetensors"
    with pytest.raises(CodecError, match=r"no weights 0\.02\.safetensors"):
        find_checkpoint("elic", 0.02, str(tmp_path))
    with pytest.raises(CodecError, match=r"train them \(lamofcbench train elic\)"):
        find_checkpoint("elic", 0.123)
    with pytest.raises(CodecError, match="there is no file"):
        find_checkpoint("elic", 0.02, str(tmp_path / "nothing"))


DAMAGED = st.tuples(st.integers(0, 2**12), st.integers(0, 255))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DAMAGED, min_size=1, max_size=4), st.booleans())
def test_a_damaged_checkpoint_is_an_error_that_says_so_whatever_torch_raises(tmp_path, changes, legacy):
    path = tmp_path / "weights.pth.tar"
    torch.save({"a.weight": torch.ones(2, 2)}, path, _use_new_zipfile_serialization=not legacy)
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(content)
    with contextlib.suppress(CodecError):
        assert set(map(torch.is_tensor, read_state(path).values())) <= {True}


@pytest.mark.parametrize("content", [b"\x80\x02h\x05.", b"", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_what_is_no_checkpoint_is_told(tmp_path, content):
    path = tmp_path / "weights.pth.tar"
    path.write_bytes(content)
    with pytest.raises(CodecError, match=r"weights\.pth\.tar"):
        read_state(path)


def test_weights_are_real_numbers_in_memory(tmp_path):
    for tensor in (torch.ones(2, dtype=torch.complex64), torch.ones(2, 2).to_sparse()):
        torch.save({"a.weight": tensor}, tmp_path / "weights.pth.tar")
        with pytest.raises(CodecError, match=r"'a\.weight' holds no real numbers, or none in memory"):
            read_state(tmp_path / "weights.pth.tar")
