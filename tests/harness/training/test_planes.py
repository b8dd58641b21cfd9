import json

import numpy as np
import pytest

from harness.training.planes import INDEX_FILE, PLANES_FILE, PlaneStore, held_out_samples, planes_digest, write_planes
from lamofcbench.codecs.kmeans import FIT_SAMPLES, Quantiser, collect_values, kmeans_points
from lamofcbench.errors import DataError
from lamofcbench.storage.calibration import Calibration


@pytest.fixture(scope="module")
def calibration(toy, toy_data):
    return Calibration(toy, toy_data)


@pytest.fixture(scope="module")
def folder(calibration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planes")
    write_planes([calibration], folder)
    return folder


def test_every_element_is_in_a_canvas_once(folder, calibration):
    store = PlaneStore(folder)
    elements = sum(features.elements for features in calibration)
    assert sum(plane.elements for plane in store.index) == elements
    assert sum(int(store.read(plane)[1].sum()) for plane in store.index) == elements
    assert store.scenarios[0]["elements"] == elements
    assert {(plane.height % 64, plane.width % 64) for plane in store.index} == {(0, 0)}


def test_canvases_hold_the_indices_of_the_codecs_quantiser(folder, calibration):
    store = PlaneStore(folder)
    row = [spec.name for spec in calibration.scenario.tensors].index("hidden")
    values = collect_values(calibration[:FIT_SAMPLES], len(calibration.scenario.tensors))[row]
    quantiser = Quantiser(kmeans_points(values, 256), "nearest")
    hidden = [plane for plane in store.index if plane.role == "hidden"]
    assert len(hidden) == len(calibration)
    for plane, features in zip(hidden, calibration, strict=True):
        indices, valid = store.read(plane)
        expected = quantiser.indices(features["hidden"]).reshape(-1)
        np.testing.assert_array_equal(np.sort(indices[valid]), np.sort(expected))


def test_a_tenth_of_the_samples_is_held_out_by_content(folder, calibration):
    hashes = [calibration.content_sha256(index) for index in range(len(calibration))]
    expected = held_out_samples(hashes)
    store = PlaneStore(folder)
    by_sample = [plane.held_out for plane in store.index if plane.role == "key"]
    assert {index for index, held_out in enumerate(by_sample) if held_out} == expected
    digests = [f"{n * 2654435761 % 2**32:08x}" + "0" * 56 for n in range(1000)]
    assert 70 < len(held_out_samples(digests)) < 130
    kept = held_out_samples(digests[:500])
    assert kept == {index for index in held_out_samples(digests) if index < 500}  # more samples move none


def test_written_planes_are_used_again_unless_the_data_change(folder, calibration, monkeypatch):
    before = (folder / PLANES_FILE).stat().st_mtime_ns
    write_planes([calibration], folder)
    assert (folder / PLANES_FILE).stat().st_mtime_ns == before
    digest = planes_digest([calibration])
    for change in ("data_revision", "builder_identity"):
        with monkeypatch.context() as patch:
            patch.setattr(Calibration, change, "another")
            assert planes_digest([calibration]) != digest


def test_a_damaged_folder_is_an_error(folder, tmp_path):
    (tmp_path / INDEX_FILE).write_text(json.dumps({"planes": []}))
    with pytest.raises(DataError, match="delete the folder"):
        PlaneStore(tmp_path)
