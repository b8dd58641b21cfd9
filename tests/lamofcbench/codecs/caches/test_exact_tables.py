"""Tables of exact tokens: any words come back, likely ones for less, and tables that do not fit are refused."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs.caches.exact import words_of
from lamofcbench.codecs.caches.exact_tables import ExactTables, TokenPart, learned_exact_tables, token_of
from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder, least_bytes
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="value.0", role="value", shape=(2, T, 8), dtype="bfloat16"),
        TensorSpec(name="value.1", role="value", shape=(1, T, 4), dtype="float32"),
        TensorSpec(name="value.2", role="value", shape=(3, T, 2), dtype="float16"),
    )
)
GROUP = RowGroup(SPECS.tensors, (T,))
WORDS_A_TOKEN = 16 + 2 * 4 + 6


def words(tokens, seed):
    generator = np.random.default_rng(seed)
    scales = {"value.0": 1.0, "value.1": 1e-3, "value.2": 30.0}
    tensors = {
        spec.name: torch.from_numpy(generator.normal(size=spec.sized({"tokens": tokens})) * scales[spec.name])
        for spec in SPECS.tensors
    }
    return words_of(GROUP, FeatureSet(tensors).cast(SPECS), np.arange(tokens))


@pytest.fixture(scope="module")
def state():
    return learned_exact_tables(token_of(GROUP), 3, (words(20, seed) for seed in range(8)))


def coded(tables, values, tokens):
    least = least_bytes(tables.least_cost(tokens))
    encoder = SymbolEncoder(least)
    tables.put(encoder, values, tokens)
    payload = encoder.finish()
    decoder = SymbolDecoder(payload, least)
    assert np.array_equal(tables.take(decoder, tokens), values)
    decoder.finish()
    return payload


def test_a_token_is_what_the_specs_make_of_it():
    assert token_of(GROUP) == (TokenPart(16, 1), TokenPart(4, 2), TokenPart(6, 1))


@pytest.mark.parametrize("tokens", [0, 1, 50])
def test_words_come_back_and_likely_ones_cost_less(state, tokens):
    tables = ExactTables.from_state(token_of(GROUP), 3, state)
    unlikely = np.random.default_rng(tokens).integers(0, 2**16, tokens * WORDS_A_TOKEN).astype(np.uint16)
    likely = coded(tables, words(tokens, 99), tokens)
    assert len(likely) <= 0.8 * 2 * len(unlikely) + 4 and len(likely) <= len(coded(tables, unlikely, tokens))


def test_each_word_of_each_tensor_has_a_table_of_its_own(state):
    own = state["3.exact"].double() / 2**24
    assert own.shape == (4, 256) and bool((own > 0).all())
    assert own[1].max() < 0.02  # the lower half of float32, of mantissa alone
    assert min((own[a] - own[b]).abs().sum() for a, b in ((0, 2), (0, 3), (2, 3))) > 1


def test_without_samples_nothing_is_known_and_all_is_possible():
    tables = ExactTables.from_state(token_of(GROUP), 0, learned_exact_tables(token_of(GROUP), 0, [words(0, 0)]))
    assert len(coded(tables, words(50, 99), 50)) == pytest.approx(2 * 50 * WORDS_A_TOKEN, rel=0.01)


def test_where_no_token_stays_there_is_nothing():
    assert learned_exact_tables((), 0, [words(0, 0)]) == {}
    tables = ExactTables.from_state((), 0, {})
    assert coded(tables, np.zeros(0, np.uint16), 0) == b""
    assert tables.least_cost(0) == 0


@pytest.mark.parametrize("spoilt", [None, torch.ones(3, 256), torch.ones(4, 255), torch.ones(4), torch.zeros(4, 256)])
def test_tables_that_do_not_fit_are_refused(spoilt):
    with pytest.raises(CodecError):
        ExactTables.from_state(token_of(GROUP), 3, {} if spoilt is None else {"3.exact": spoilt})
