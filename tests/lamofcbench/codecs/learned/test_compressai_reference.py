"""With the same weights the networks compute what CompressAI 1.2.8 computes; its numbers are in `reference/`.

They are made anew by ``python benchmarks/compressai_comparison.py fixtures``, which installs CompressAI in an
environment of its own. Their planes were chosen so that no latent is near a tie; integers must be equal everywhere.
"""

import json
from pathlib import Path

import pytest
import torch
from coded_integers import coded_integers
from reference_weights import made_from_name, reference_planes, reference_state
from safetensors import safe_open

from lamofcbench.codecs.learned.elic import Elic
from lamofcbench.codecs.learned.hyperprior import ScaleHyperprior
from lamofcbench.codecs.learned.latent_coders import make_coder

NETWORKS = {
    "hyperprior": lambda: ScaleHyperprior(8, 12),
    # CompressAI's channel groups and context widths do not depend on its latent width.
    "elic": lambda: Elic(16, 144, groups=(16, 16, 32, 64, 16), context_widths=(224, 128)),
}


class Reference:
    """A fixture and the network that it is about."""

    def __init__(self, codec):
        with safe_open(Path(__file__).parent / f"reference/{codec}.safetensors", "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            facts = {name: json.loads(text) for name, text in file.metadata().items()}
        untrained = NETWORKS[codec]().state_dict()
        gains = {name.removeprefix("gain:"): t.item() for name, t in tensors.items() if name.startswith("gain:")}
        overrides = {name: tensors[name] for name in tensors if name in untrained}
        shapes = {name: tuple(tensor.shape) for name, tensor in untrained.items()}
        self.network = NETWORKS[codec]().from_state_dict(untrained | reference_state(shapes, gains, overrides))
        self.network.update_tables()
        self.planes = reference_planes(*facts["shape"], facts["seed"])
        self.bytes = facts["bytes"]
        self.tensors = tensors


@pytest.fixture(scope="module", params=NETWORKS)
def reference(request):
    return Reference(request.param)


def test_every_parameter_is_one_of_the_reference_weights(reference):
    assert {name for name in reference.network.state_dict() if made_from_name(name)} == {
        name for name, _ in reference.network.named_parameters()
    }


def test_likelihoods_and_reconstruction_are_compressais(reference):
    with torch.no_grad():
        output = reference.network(reference.planes)
    # Equal to the bit where both run on one machine; elsewhere convolutions sum in another order.
    assert torch.allclose(output.reconstruction, reference.tensors["reconstruction"], atol=1e-5)
    for name in ("y", "z"):
        assert torch.allclose(output.likelihoods[name], reference.tensors[f"{name}_likelihoods"], rtol=1e-3, atol=1e-6)


def test_coded_integers_are_compressais_and_cost_no_more(reference):
    coder = make_coder(reference.network)
    integers, payload = coded_integers(coder, reference.planes)
    for name, values in integers.items():
        assert torch.equal(values, reference.tensors[name].to(torch.int32)), name
    assert 0.94 * reference.bytes < len(payload) <= 1.005 * reference.bytes  # a string of theirs ends in padding

    batch, _, height, width = reference.planes.shape
    (decoded,) = coder.decode(payload, [(batch, height, width)])
    assert torch.allclose(decoded.reshape(reference.planes.shape), reference.tensors["reconstruction"], atol=1e-5)


def test_the_reference_is_no_trivial_one(reference):
    symbols, indexes = reference.tensors["y_symbols"], reference.tensors["y_indexes"]
    assert symbols.unique().numel() > 16 and indexes.unique().numel() > 8
    assert reference.tensors["z_symbols"].unique().numel() > 3
