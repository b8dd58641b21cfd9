from lamofcbench.codecs.caches.tokens import is_of_tokens, other_specs, stored_rows, token_groups
from lamofcbench.scenarios.base import SCENARIOS, Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=64)


def spec(name, role, shape, **fields):
    return TensorSpec(name=name, role=role, shape=shape, dtype="float16", **fields)


def test_keys_of_all_layers_stand_side_by_side_values_apart_and_hidden_states_by_themselves():
    scenario = SCENARIOS.get("mini-clu-facts")
    groups = token_groups(scenario.specs)
    assert [[s.role for s in group.specs] for group in groups] == [["key"] * 5, ["value"] * 5, ["hidden"]]
    assert [group.width for group in groups] == [5 * 2 * 32, 5 * 2 * 32, 128]
    assert other_specs(scenario.specs) is None


def test_states_latents_pooled_vectors_and_narrow_tokens_are_left_to_others():
    tensors = (
        spec("hidden", "hidden", (T, 16)),
        spec("narrow", "hidden", (T, 15)),
        spec("alone", "hidden", (64,)),
        spec("ragged", "hidden", (4, T)),
        spec("state", "ssm_state", (64, 16)),
        spec("latent", "latent", (16, 8, 8)),
        spec("pooled", "pooled", (64,)),
    )
    assert [s.name for s in tensors if is_of_tokens(s)] == ["hidden"]
    rest = other_specs(FeatureSpecs(tensors=tensors, side=("seed",)))
    assert [s.name for s in rest.tensors] == [s.name for s in tensors[1:]] and rest.side == ()


def test_stored_rows_keep_the_rotary_embedding():
    assert stored_rows(spec("key", "key", (2, T, 8), rotary_base=1e4)).specs[0].rotary_base is None
