"""The published segmentor written out as loops over queries, heads, levels and points, from its equations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from plain_vision import (
    Weights,
    batch_norm,
    bilinear,
    convolution,
    gelu,
    group_norm,
    layer_norm,
    linear,
    relu,
    sigmoid,
    softmax,
    spread,
    under,
)

Size = tuple[int, int]
GROUPS = 32


def tokens_of(level: np.ndarray) -> np.ndarray:
    return level.reshape(len(level), -1).T


def map_of(tokens: np.ndarray, size: Size) -> np.ndarray:
    return tokens.T.reshape(-1, *size)


def parts_of(tokens: np.ndarray, sizes: Sequence[Size]) -> list[np.ndarray]:
    ends = np.cumsum([height * width for height, width in sizes])
    return [tokens[end - height * width : end] for end, (height, width) in zip(ends, sizes, strict=True)]


# ------------------------------------------------------------------------------------------------ deformable attention


def read(level: np.ndarray, x: float, y: float) -> np.ndarray:
    """A map ``[C, h, w]`` at a place of 0..1 by 0..1, bilinear between the centres of pixels, zero outside."""
    height, width = level.shape[1:]
    column, row = x * width - 0.5, y * height - 0.5
    found = np.zeros(len(level))
    for pixel_row in (math.floor(row), math.floor(row) + 1):
        for pixel_column in (math.floor(column), math.floor(column) + 1):
            if 0 <= pixel_row < height and 0 <= pixel_column < width:
                share = (1 - abs(row - pixel_row)) * (1 - abs(column - pixel_column))
                found += share * level[:, pixel_row, pixel_column]
    return found


def places_of(sizes: Sequence[Size]) -> list[tuple[float, float]]:
    """(x, y) of each pixel's centre, row by row, one map after the other."""
    return [
        ((column + 0.5) / width, (row + 0.5) / height)
        for height, width in sizes
        for row in range(height)
        for column in range(width)
    ]


def deformable(
    weights: Weights,
    queries: np.ndarray,
    places: Sequence[tuple[float, float]],
    values: np.ndarray,
    sizes: Sequence[Size],
    heads: int,
    points: int = 4,
) -> np.ndarray:
    levels = [map_of(part, size) for part, size in zip(parts_of(values, sizes), sizes, strict=True)]
    projected = [map_of(linear(tokens_of(level), under(weights, "value_proj.")), level.shape[1:]) for level in levels]
    channels = len(projected[0]) // heads
    offsets = linear(queries, under(weights, "sampling_offsets.")).reshape(len(queries), heads, len(sizes), points, 2)
    shares = softmax(linear(queries, under(weights, "attention_weights.")).reshape(len(queries), heads, -1))
    shares = shares.reshape(len(queries), heads, len(sizes), points)
    found = np.zeros((len(queries), heads * channels))
    for query, (x, y) in enumerate(places):
        for head in range(heads):
            own = slice(head * channels, (head + 1) * channels)
            for level, (height, width) in enumerate(sizes):
                for point in range(points):
                    right, down = offsets[query, head, level, point]
                    seen = read(projected[level][own], x + right / width, y + down / height)
                    found[query, own] += shares[query, head, level, point] * seen
    return linear(found, under(weights, "output_proj."))


# ------------------------------------------------------------------------------------------------------------ adapter


def stage(weights: Weights, values: np.ndarray, first: int, stride: int) -> np.ndarray:
    """A convolution, a batch norm and a ReLU that stand at ``first`` and after it."""
    values = convolution(values, under(weights, f"{first}."), stride=stride)
    return relu(batch_norm(values, under(weights, f"{first + 1}.")))


def largest_of_nine(values: np.ndarray) -> np.ndarray:
    """The largest of 3 x 3 pixels, every other one."""
    height, width = values.shape[1:]
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    result = np.zeros((len(values), height // 2, width // 2))
    for row in range(height // 2):
        for column in range(width // 2):
            patch = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            result[:, row, column] = patch.max((1, 2))
    return result


def extracted(weights: Weights, tokens: np.ndarray, sizes: Sequence[Size], level: np.ndarray, heads: int) -> np.ndarray:
    queries = layer_norm(tokens, under(weights, "query_norm."), eps=1e-6)
    values = layer_norm(tokens_of(level), under(weights, "feat_norm."), eps=1e-6)
    size = (level.shape[1], level.shape[2])
    tokens = tokens + deformable(under(weights, "attn."), queries, places_of(sizes), values, [size], heads)
    inner = linear(layer_norm(tokens, under(weights, "ffn_norm."), eps=1e-6), under(weights, "ffn.fc1."))
    depthwise = under(weights, "ffn.dwconv.dwconv.")
    parts = zip(parts_of(inner, sizes), sizes, strict=True)
    inner = np.concatenate([tokens_of(convolution(map_of(part, size), depthwise)) for part, size in parts])
    return tokens + linear(gelu(inner), under(weights, "ffn.fc2."))


def adapted(weights: Weights, pixels: np.ndarray, maps: Sequence[np.ndarray], heads: int) -> list[np.ndarray]:
    """The adapter's four maps, fine to coarse, of an image ``[3, H, W]`` and four levels ``[C, H / 16, W / 16]``."""
    stem = under(weights, "spm.stem.")
    values = stage(stem, stage(stem, stage(stem, pixels, 0, 2), 3, 1), 6, 1)
    scales = [largest_of_nine(values)]
    for number in (2, 3, 4):
        scales.append(stage(under(weights, f"spm.conv{number}."), scales[-1], 0, 2))
    scales = [convolution(level, under(weights, f"spm.fc{number}.")) for number, level in enumerate(scales, start=1)]
    sizes = [(level.shape[1], level.shape[2]) for level in scales[1:]]
    coarse = [tokens_of(level) + own for level, own in zip(scales[1:], weights["level_embed"], strict=True)]
    tokens = np.concatenate(coarse)
    for number, level in enumerate(maps):
        own = under(weights, f"interactions.{number}.")
        tokens = extracted(under(own, "extractor."), tokens, sizes, level, heads)
        for extra in range(2 if number == 3 else 0):
            tokens = extracted(under(own, f"extra_extractors.{extra}."), tokens, sizes, level, heads)
    pyramid = [map_of(part, size) for part, size in zip(parts_of(tokens, sizes), sizes, strict=True)]
    pyramid = [spread(pyramid[0], under(weights, "up.")) + scales[0], *pyramid]
    return [
        batch_norm(own + bilinear(level, own.shape[1:]), under(weights, f"norm{number}."))
        for number, (own, level) in enumerate(zip(pyramid, maps, strict=True), start=1)
    ]


# ------------------------------------------------------------------------------------------------------- Mask2Former


def positions_of(channels: int, size: Size) -> np.ndarray:
    """Sines and cosines of the row, then of the column, ``[h w, channels]``."""
    half, (height, width) = channels // 2, size
    result = np.zeros((height * width, channels))
    for row in range(height):
        for column in range(width):
            for start, number, length in ((0, row + 1, height), (half, column + 1, width)):
                angle = number / (length + 1e-6) * 2 * math.pi
                for channel in range(half):
                    divided = angle / 10000 ** (2 * (channel // 2) / half)
                    wave = math.sin if channel % 2 == 0 else math.cos
                    result[row * width + column, start + channel] = wave(divided)
    return result


def pixels_decoded(weights: Weights, maps: Sequence[np.ndarray], heads: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The encoder's maps, coarse to fine, and the mask features, of maps fine to coarse."""
    levels = []
    for number, level in enumerate(reversed(maps[1:])):
        own = under(weights, f"input_convs.{number}.")
        levels.append(group_norm(convolution(level, under(own, "0.")), under(own, "1."), GROUPS))
    sizes = [(level.shape[1], level.shape[2]) for level in levels]
    positions = np.concatenate(
        [
            positions_of(len(level), size) + own
            for level, size, own in zip(levels, sizes, weights["encoder.level_encoding"], strict=True)
        ]
    )
    tokens = np.concatenate([tokens_of(level) for level in levels])
    number = 0
    while own := under(weights, f"encoder.encoder.layers.{number}."):
        found = deformable(under(own, "self_attn."), tokens + positions, places_of(sizes), tokens, sizes, heads)
        tokens = layer_norm(tokens + found, under(own, "norm1."))
        inner = linear(relu(linear(tokens, under(own, "linear1."))), under(own, "linear2."))
        tokens = layer_norm(tokens + inner, under(own, "norm2."))
        number += 1
    levels = [map_of(part, size) for part, size in zip(parts_of(tokens, sizes), sizes, strict=True)]
    lateral, output = under(weights, "lateral_convs.0."), under(weights, "output_convs.0.")
    fine = group_norm(convolution(maps[0], {"weight": lateral["weight"]}), under(lateral, "norm."), GROUPS)
    fine = fine + bilinear(levels[-1], fine.shape[1:])
    fine = relu(group_norm(convolution(fine, {"weight": output["weight"]}), under(output, "norm."), GROUPS))
    return levels, convolution(fine, under(weights, "mask_feature."))


def attended(
    weights: Weights, queries: np.ndarray, keys: np.ndarray, values: np.ndarray, heads: int, blocked: np.ndarray
) -> np.ndarray:
    """Multi-head attention, query by query, with the three projections packed in one matrix."""
    width = queries.shape[1]
    asked, offered, told = (
        part @ weights["in_proj_weight"][index * width : (index + 1) * width].T
        + weights["in_proj_bias"][index * width : (index + 1) * width]
        for index, part in enumerate((queries, keys, values))
    )
    found = np.zeros_like(asked)
    for head in range(heads):
        own = slice(head * width // heads, (head + 1) * width // heads)
        for query in range(len(asked)):
            scores = offered[:, own] @ asked[query, own] / math.sqrt(width // heads)
            found[query, own] = softmax(np.where(blocked[query], -np.inf, scores)) @ told[:, own]
    return linear(found, under(weights, "out_proj."))


def queries_decoded(
    weights: Weights, maps: Sequence[np.ndarray], mask_features: np.ndarray, heads: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Class logits and mask logits before the first layer and after each."""
    values = [tokens_of(level) + own for level, own in zip(maps, weights["level_embed.weight"], strict=True)]
    own = weights["query_embed.weight"]
    queries = weights["query_feat.weight"]

    def judged() -> tuple[np.ndarray, np.ndarray]:
        normal = layer_norm(queries, under(weights, "post_norm."))
        embedding = normal
        for layer in range(3):
            embedding = linear(embedding, under(weights, f"mask_embed.layers.{layer}."))
            embedding = relu(embedding) if layer < 2 else embedding
        return linear(normal, under(weights, "class_embed.")), np.tensordot(embedding, mask_features, axes=1)

    steps = [judged()]
    number = 0
    while network := under(weights, f"transformer_ffn_layers.{number}."):
        level, value = maps[number % 3], values[number % 3]
        blocked = sigmoid(bilinear(steps[-1][1], level.shape[1:])).reshape(len(queries), -1) < 0.5
        blocked[blocked.all(1)] = False
        cross = under(weights, f"transformer_cross_attention_layers.{number}.")
        keys = value + positions_of(len(level), (level.shape[1], level.shape[2]))
        found = attended(under(cross, "multihead_attn."), queries + own, keys, value, heads, blocked)
        queries = layer_norm(queries + found, under(cross, "norm."))
        within = under(weights, f"transformer_self_attention_layers.{number}.")
        nothing = np.zeros((len(queries), len(queries)), dtype=bool)
        found = attended(under(within, "self_attn."), queries + own, queries + own, queries, heads, nothing)
        queries = layer_norm(queries + found, under(within, "norm."))
        inner = linear(relu(linear(queries, under(network, "linear1."))), under(network, "linear2."))
        queries = layer_norm(queries + inner, under(network, "norm."))
        steps.append(judged())
        number += 1
    return steps
