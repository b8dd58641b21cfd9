import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lamofcbench.codecs.entropy import frequencies_from_weights
from lamofcbench.codecs.kmeans import FIT_SAMPLES, KmeansCodec, kmeans_points
from lamofcbench.codecs.published_tables import read_published_tables
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def specs(dtype="float32", name="hidden"):
    return FeatureSpecs(tensors=(TensorSpec(name=name, role="hidden", shape=(T, 4), dtype=dtype),))


def features(values, dtype="float32", name="hidden"):
    return FeatureSet({name: torch.as_tensor(values).to(DTYPES[dtype])})


def noise(seed, dtype="float32", tokens=100):
    return features(np.random.default_rng(seed).standard_t(3, (tokens, 4)), dtype)


def hand_made(points, dtype="float32", assignment="nearest"):
    points = torch.tensor([points], dtype=torch.float32)
    frequencies = torch.from_numpy(frequencies_from_weights(np.ones(points.shape[1]))[None])
    params = {"points": points.shape[1], "assignment": assignment}
    return KmeansCodec(specs(dtype), params, {"points": points, "frequencies": frequencies})


# ---------------------------------------------------------------------------------------------- the points


def lloyd_error(values, points):
    return np.abs(values[:, None] - points[None].astype(np.float64)).min(axis=1).__pow__(2).sum()


def test_separated_clusters_are_found_exactly():
    values = np.sort(np.concatenate([c + np.array([-0.5, 0.0, 0.5]) for c in (-1000, -3, 4, 7, 5000)])).astype(
        np.float32
    )
    assert kmeans_points(values, 5).tolist() == [-1000, -3, 4, 7, 5000]


def test_error_is_that_of_a_reference_implementation_or_lower():
    from sklearn.cluster import KMeans

    values = np.sort(np.random.default_rng(0).standard_t(3, 4000)).astype(np.float32)
    reference = KMeans(16, n_init=3, random_state=0).fit(values[:, None].astype(np.float64))
    assert lloyd_error(values, kmeans_points(values, 16)) < 1.05 * reference.inertia_


@settings(deadline=None)
@given(
    arrays(np.float32, st.integers(0, 60), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.integers(2, 20),
)
def test_points_are_finite_ascending_and_within_the_values(values, count):
    values = np.sort(values)
    points = kmeans_points(values, count)
    assert points.shape == (count,) and np.isfinite(points).all() and (np.diff(points) >= 0).all()
    if values.size:
        assert values[0] <= points[0] and points[-1] <= values[-1]
        if len(np.unique(values)) <= count:
            assert lloyd_error(values, points) <= 1e-12 * np.square(values.astype(np.float64)).sum()


def test_at_most_ten_samples_are_fitted_on():
    first = [noise(seed) for seed in range(FIT_SAMPLES)]
    more = [*first, features(np.full((50, 4), 1e6))]
    points = KmeansCodec(specs(), {"points": 8}).fit(first).state["points"]
    assert torch.equal(KmeansCodec(specs(), {"points": 8}).fit(more).state["points"], points)


# ------------------------------------------------------------------------------------------ the assignment


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("assignment", ["nearest", "published"])
def test_every_value_gets_the_point_that_the_rule_says(dtype, assignment):
    points = np.array([-7.0, -0.25, 0.0, 0.3, 2.0, 900.0], np.float32)
    sample = noise(5, dtype, tokens=500)
    decoded = hand_made(points.tolist(), dtype, assignment)
    values = sample["hidden"].double().numpy()
    if assignment == "nearest":
        expected = points[np.abs(values[..., None] - points.astype(np.float64)).argmin(axis=-1)]
    else:
        expected = points[np.maximum((values[..., None] >= points).sum(axis=-1) - 1, 0)]
    found = decoded.decode(decoded.encode(sample))["hidden"]
    assert torch.equal(found, torch.from_numpy(expected).to(DTYPES[dtype]))


def test_published_assignment_is_the_left_closed_interval():
    codec = hand_made([0.0, 1.0, 2.0], assignment="published")
    sample = features([[-5.0, 0.0, 0.999, 1.0], [1.999, 2.0, 50.0, -0.0]])
    assert codec.decode(codec.encode(sample))["hidden"].tolist() == [[0, 0, 0, 1], [1, 2, 2, 0]]


def test_nearest_assignment_errs_less_than_published():
    sample = noise(3)

    def error(assignment):
        codec = KmeansCodec(specs(), {"points": 32, "assignment": assignment}).fit([noise(s) for s in range(5)])
        return (codec.decode(codec.encode(sample))["hidden"] - sample["hidden"]).square().mean()

    assert error("nearest") < 0.7 * error("published")


def test_ladder_is_a_curve_that_begins_with_the_published_number():
    assert KmeansCodec.rate_points[0] == {"points": 256}
    sizes = [
        len(KmeansCodec(specs(), point).fit([noise(s) for s in range(5)]).encode(noise(9)))
        for point in KmeansCodec.rate_points
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_payload_bytes_are_the_same_in_every_version_and_on_every_machine():
    codec = hand_made([-2.0, -1.0, 0.0, 0.5, 4.0])
    sample = features((torch.arange(-20, 20) / 7.0).reshape(10, 4))
    assert hashlib.sha256(codec.encode_features(sample)).hexdigest()[:16] == "26bbb9e18b655802"


@pytest.mark.parametrize("points", [[1.0, 0.0], [0.0, float("nan")], [0.0, float("inf")], [0.0, 1.0, 2.0]])
def test_points_of_a_stranger_are_checked(points):
    codec = hand_made([0.0, 1.0])
    with pytest.raises(CodecError):
        KmeansCodec(specs(), codec.params, {**codec.state, "points": torch.tensor([points])}).check_state()


# ------------------------------------------------------------------------------------- the published tables


@pytest.fixture
def mapping(tmp_path):
    (tmp_path / "qwen3").mkdir()
    (tmp_path / "qwen3" / "feature.json").write_text(json.dumps(np.linspace(-8, 8, 256).tolist()))
    (tmp_path / "qwen3" / "k.json").write_text(json.dumps(np.linspace(-1, 1, 256).tolist()))
    files = {"layer.4.output": "qwen3/feature.json", "layer.0.k_cache": "qwen3/k.json", "broken": "broken.json"}
    (tmp_path / "mapping.json").write_text(json.dumps({"qwen": files, "other": {"hidden": "../outside.json"}}))
    return tmp_path / "mapping.json"


def test_published_tables_are_found_by_our_names_and_by_theirs(mapping):
    tables = read_published_tables(mapping, "qwen", ["hidden", "key.0", "layer.0.k_cache"])
    assert tables["hidden"][-1] == 8 and (tables["key.0"] == tables["layer.0.k_cache"]).all()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("block.39", "layer.39"),
        ("value.3", "layer.3.v_cache"),
        ("ssm_state.2", "layer.2.ssm_state"),
        ("conv_state.0", "layer.0.conv_state"),
        ("hidden", "output"),
        ("clip_l.pooled.negative", "text_encoder-item3.clip_pooled_prompt_embeds"),
        ("clip_g.hidden.negative", "text_encoder_2-item4.clip_prompt"),
        ("t5.hidden.positive", "text_encoder_3-item2.t5_prompt_embeds"),
        ("vae_encoder.1", "vae.encoder_f1"),
        ("latent", "vae.decoder"),
    ],
)
def test_published_names_of_all_backbones_are_known(tmp_path, ours, theirs):
    (tmp_path / "t.json").write_text(json.dumps(list(range(256))))
    (tmp_path / "mapping.json").write_text(json.dumps({"b": {theirs: "t.json", "layer.3": "no.json"}}))
    assert len(read_published_tables(tmp_path / "mapping.json", "b", [ours])[ours]) == 256


def numbered_tables(folder, names):
    """A mapping whose tables begin with their places."""
    for place in range(len(names)):
        (folder / f"{place}.json").write_text(json.dumps([place, *[1000] * 255]))
    content = {"b": {name: f"{place}.json" for place, name in enumerate(names)}}
    (folder / "mapping.json").write_text(json.dumps(content))
    return folder / "mapping.json"


def test_names_of_the_published_mapping_are_exact(tmp_path):
    mapping = numbered_tables(tmp_path, ["layer.39", "layer.3", "layer.0.k_cache_old", "layer.0.k_cache"])
    tables = read_published_tables(mapping, "b", ["block.3", "block.39", "key.0"])
    assert [table[0] for table in tables.values()] == [1, 0, 3]
    with pytest.raises(CodecError, match="no table"):
        read_published_tables(numbered_tables(tmp_path, ["layer.0.k_cache_old"]), "b", ["key.0"])


@pytest.mark.parametrize("slip", ["text_encoder_2-itme4", "text_encoder-item4", "text_encoder_2_item4"])
def test_the_two_misspelt_names_are_found_and_told(tmp_path, slip):
    right = [
        f"text_encoder{encoder}-item{item}.{kind}"
        for encoder, item in (("", 0), ("_2", 1), ("", 3))
        for kind in ("clip_pooled", "clip_prompt")
    ]
    mapping = numbered_tables(tmp_path, [*right, f"{slip}.clip_pooled", f"{slip}.clip_prompt"])
    with pytest.warns(UserWarning, match="misspelt") as told:
        tables = read_published_tables(
            mapping, "b", ["clip_l.pooled.negative", "clip_g.pooled.negative", "clip_g.hidden.negative"]
        )
    assert [table[0] for table in tables.values()] == [4, 6, 7] and len(told) == 2


def test_no_other_tensors_table_is_taken_for_a_misspelt_one(tmp_path):
    mapping = numbered_tables(tmp_path, ["text_encoder_2-item1.clip_pooled", "text_encoder-item3.clip_pooled"])
    with pytest.raises(CodecError, match="no table"):
        read_published_tables(mapping, "b", ["clip_g.pooled.negative"])


def test_what_is_no_file_of_tables_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(CodecError, match="is no file of k-means tables"):
            read_published_tables(place, "qwen", ["hidden"])


def test_codec_with_published_tables_runs_from_a_spec(mapping):
    [codec] = make_codecs(f"kmeans:tables={mapping},backbone=qwen", specs())
    fitted = codec.fit([noise(s) for s in range(3)])
    assert fitted.state["points"][0].tolist() == pytest.approx(np.linspace(-8, 8, 256).tolist())
    sample = noise(7)
    assert (fitted.decode(fitted.encode(sample))["hidden"] - sample["hidden"].clip(-8, 8)).abs().max() < 0.04


def test_fingerprint_depends_on_what_the_tables_hold_not_on_where_they_lie(mapping, tmp_path):
    moved = tmp_path / "moved"
    mapping.parent.joinpath("qwen3").rename(tmp_path / "q")
    moved.mkdir()
    (tmp_path / "q").rename(moved / "qwen3")
    (moved / "mapping.json").write_text(mapping.read_text())
    mapping.parent.joinpath("qwen3").symlink_to(moved / "qwen3")

    def fingerprint(path):
        return make_codecs(f"kmeans:tables={path},backbone=qwen", specs())[0].fit([noise(0)]).fingerprint

    assert fingerprint(moved / "mapping.json") == fingerprint(moved / ".." / "moved" / "mapping.json")


def test_fitted_codec_with_published_tables_is_saved_and_loaded_without_them(mapping, tmp_path):
    [codec] = make_codecs(f"kmeans:tables={mapping},backbone=qwen", specs())
    fitted = codec.fit([noise(0)])
    fitted.save(tmp_path / "saved")
    mapping.unlink()
    [loaded] = make_codecs(str(tmp_path / "saved"), specs())
    assert loaded.encode(noise(1)) == fitted.encode(noise(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(list(range(255))), "256"),
        (json.dumps([*range(255), "7"]), "256"),
        (json.dumps([*range(255), True]), "256"),
        (json.dumps([*range(255), 1e39]), "finite"),
        (json.dumps([*range(255), 10**400]), "float32"),
        ("[" + ",".join(["1"] * 255) + ",NaN]", "finite"),
        (json.dumps([*range(255), 0]), "ascend"),
        ("{}", "256"),
        ("[" * 100_000, "read"),
        ("not json", "read"),
    ],
)
def test_hostile_table_files_are_refused(mapping, content, message):
    (mapping.parent / "broken.json").write_text(content)
    with pytest.raises(CodecError, match=message):
        read_published_tables(mapping, "qwen", ["broken"])


def test_files_outside_of_the_folder_are_refused(mapping):
    (mapping.parent.parent / "outside.json").write_text(json.dumps(list(range(256))))
    with pytest.raises(CodecError, match="not in its folder"):
        read_published_tables(mapping, "other", ["hidden"])


@pytest.mark.parametrize(
    ("backbone", "name", "message"),
    [("qwn", "hidden", "did you mean 'qwen'"), ("qwen", "value.9", "no table for tensor"), ("qwen", "broken", "read")],
)
def test_what_is_missing_is_named(mapping, backbone, name, message):
    with pytest.raises(CodecError, match=message):
        read_published_tables(mapping, backbone, [name])


@pytest.mark.parametrize("content", ["[]", '{"qwen": 3}', '{"qwen": {"hidden": 3}}', "", '{"qwen": {"hidden": null}}'])
def test_hostile_mappings_are_refused(mapping, content):
    mapping.write_text(content)
    with pytest.raises(CodecError):
        read_published_tables(mapping, "qwen", ["hidden"])


def test_published_tables_have_256_points(mapping):
    with pytest.raises(CodecError, match="256"):
        KmeansCodec(specs(), {"points": 16, "tables": str(mapping), "backbone": "qwen"}).fit([noise(0)])
