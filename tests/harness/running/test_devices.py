"""The device that features are coded on."""

import pytest
import torch

from harness.running.environment import choose_device
from lamofcbench.errors import LaMoFCBenchError


def test_the_processor_is_one_device():
    assert choose_device("cpu") == choose_device("cpu:0") == "cpu"
    assert choose_device(None) == ("cuda:0" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["meta", "mps", "xpu", "cpu:5"])
def test_others_are_none_that_features_are_coded_on(name):
    with pytest.raises(LaMoFCBenchError, match=f"device '{name}' is none that features are coded on; name cpu, cuda"):
        choose_device(name)


def test_a_name_that_is_none():
    with pytest.raises(LaMoFCBenchError, match="unknown device 'gpu'; name cpu, cuda or cuda:N"):
        choose_device("gpu")


def test_processes_share_the_cuda_devices_that_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device("cuda", rank) for rank in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert choose_device("cuda:1", 0) == "cuda:1"
    with pytest.raises(LaMoFCBenchError, match="device 'cuda:2' is not there: torch sees 2 CUDA devices, from 0 on"):
        choose_device("cuda:2")


def test_without_a_cuda_device_none_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LaMoFCBenchError, match="torch sees no CUDA device"):
        choose_device("cuda")
