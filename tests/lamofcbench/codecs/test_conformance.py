"""Every registered codec against the whole contract, at the first, middle and last point of its ladder.

Codecs that start a program or run a network take a hundred times as long; they are held to it in the middle.
"""

from __future__ import annotations

import functools

import pytest

from lamofcbench.codecs import conformance
from lamofcbench.codecs.registry import CODECS

COSTLY = ("vvc", "hyperprior", "elic")


def chosen_points(codec_class):
    points = list(codec_class.rate_points)
    middle = len(points) // 2
    return [points[i] for i in sorted({middle} if codec_class.name in COSTLY else {0, middle, len(points) - 1})]


POINTS = {
    f"{codec_class.name}-{','.join(f'{k}={v}' for k, v in point.items()) or 'default'}": (codec_class.name, point)
    for codec_class in CODECS
    for point in chosen_points(codec_class)
}


@functools.cache
def codec_of(point_id):
    name, point = POINTS[point_id]
    return conformance.fitted(available(name), point)


def available(name):
    codec_class = CODECS.get(name)
    if reason := codec_class.unavailable():
        pytest.skip(reason)
    return codec_class


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("point_id", POINTS)
def test_codec_keeps_contract(point_id, check):
    check(codec_of(point_id))


@pytest.mark.parametrize("point_id", POINTS)
def test_unfitted_codec_refuses(point_id):
    name, point = POINTS[point_id]
    conformance.check_unfitted(available(name), point)


@pytest.mark.parametrize("name", CODECS.names())
def test_every_parameter_is_settable_as_text(name):
    conformance.check_params(CODECS.get(name))


@pytest.mark.parametrize("name", CODECS.names())
def test_ladder_leads_from_the_highest_rate_to_the_lowest(name):
    conformance.check_ladder(available(name))


@pytest.mark.parametrize("name", CODECS.names())
def test_empty_and_single_tensors_are_coded_like_others(name):
    codec_class = available(name)
    conformance.check_odd_specs(codec_class, codec_class.rate_points[-1])


@pytest.mark.parametrize("point_id", POINTS)
def test_saved_folder_is_guarded(point_id, tmp_path):
    conformance.check_tampering(codec_of(point_id), tmp_path)


def decode_elsewhere(point_ids, folder):
    runnable = [point_id for point_id in point_ids if not CODECS.get(POINTS[point_id][0]).unavailable()]
    conformance.check_elsewhere({point_id: codec_of(point_id) for point_id in runnable}, folder)


def test_all_codecs_decode_in_another_process(tmp_path):
    points = {name: [point_id for point_id, (codec, _) in POINTS.items() if codec == name] for name in CODECS.names()}
    decode_elsewhere([of_codec[len(of_codec) // 2] for of_codec in points.values() if of_codec], tmp_path)


@pytest.mark.slow
def test_all_rate_points_decode_in_another_process(tmp_path):
    decode_elsewhere(POINTS, tmp_path)
