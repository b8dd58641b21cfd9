"""Names and shapes of the tensors in the files that DINOv3's authors published, derived from their regularities.

Where the listing that was made from the publishers' own modules lies beside the checkout, it is read, too.
"""

from __future__ import annotations

import ast
from pathlib import Path

Shapes = dict[str, list[int]]

LISTING = Path(__file__).resolve().parents[4] / "shared" / "notes" / "full-edition-names.txt"


def listed(section: str) -> Shapes:
    """Names and shapes of a section of the listing (``DPT``, ``ADAPTER`` or ``M2F``)."""
    part = LISTING.read_text(encoding="utf-8").split(f"== {section}\n")[1].split("\nTOTAL")[0]
    return {name: ast.literal_eval(shape) for name, _, shape in (line.partition(" ") for line in part.splitlines())}


def pair(name: str, *shape: int) -> Shapes:
    """A weight, and a bias as long as its first axis."""
    return {f"{name}.weight": [*shape], f"{name}.bias": [shape[0]]}


def batch_norm(name: str, channels: int) -> Shapes:
    """Weights and running statistics of a batch norm."""
    statistics = {f"{name}.{part}": [channels] for part in ("running_mean", "running_var")}
    return pair(name, channels) | statistics | {f"{name}.num_batches_tracked": []}


def depth_head() -> Shapes:
    """The DPT head."""
    shapes: Shapes = {}
    for level in range(4):
        shapes |= batch_norm(f"reassemble_blocks.batchnorm_layers.{level}", 4096)
        shapes |= pair(f"reassemble_blocks.projects.{level}.conv", 2048, 4096, 1, 1)
        shapes[f"convs.{level}.conv.weight"] = [512, 2048, 3, 3]
        shapes |= pair(f"fusion_blocks.{level}.project.conv", 512, 512, 1, 1)
        for unit in (2,) if level == 0 else (1, 2):
            for number in (1, 2):
                shapes[f"fusion_blocks.{level}.res_conv_unit{unit}.conv{number}.conv.weight"] = [512, 512, 3, 3]
    for layer, side in ((0, 4), (1, 2), (3, 3)):
        shapes |= pair(f"reassemble_blocks.resize_layers.{layer}", 2048, 2048, side, side)
    shapes |= pair("project.conv", 512, 512, 3, 3)
    for layer, shape in ((0, (256, 512, 3, 3)), (2, (32, 256, 3, 3)), (4, (256, 32, 1, 1))):
        shapes |= pair(f"conv_depth.head.{layer}", *shape)
    return shapes


def adapter() -> Shapes:
    """The segmentor's adapter, without the backbone in it."""
    shapes: Shapes = {"level_embed": [3, 4096]} | pair("up", 4096, 4096, 2, 2)
    for layer, inputs in ((0, 3), (3, 64), (6, 64)):
        shapes[f"spm.stem.{layer}.weight"] = [64, inputs, 3, 3]
        shapes |= batch_norm(f"spm.stem.{layer + 1}", 64)
    for stage, (inputs, outputs) in enumerate(((64, 128), (128, 256), (256, 256)), start=2):
        shapes[f"spm.conv{stage}.0.weight"] = [outputs, inputs, 3, 3]
        shapes |= batch_norm(f"spm.conv{stage}.1", outputs)
    for stage, inputs in enumerate((64, 128, 256, 256), start=1):
        shapes |= pair(f"spm.fc{stage}", 4096, inputs, 1, 1)
        shapes |= batch_norm(f"norm{stage}", 4096)
    extractors = [f"interactions.{level}.extractor" for level in range(4)]
    for name in (*extractors, *(f"interactions.3.extra_extractors.{index}" for index in range(2))):
        for norm in ("query_norm", "feat_norm", "ffn_norm"):
            shapes |= pair(f"{name}.{norm}", 4096)
        shapes |= pair(f"{name}.attn.sampling_offsets", 128, 4096) | pair(f"{name}.attn.attention_weights", 64, 4096)
        shapes |= pair(f"{name}.attn.value_proj", 2048, 4096) | pair(f"{name}.attn.output_proj", 4096, 2048)
        shapes |= pair(f"{name}.ffn.fc1", 1024, 4096) | pair(f"{name}.ffn.dwconv.dwconv", 1024, 1, 3, 3)
        shapes |= pair(f"{name}.ffn.fc2", 4096, 1024)
    return shapes


def mask2former() -> Shapes:
    """The segmentor's head."""
    wide, network = 2048, 4096
    decoder, predictor = "pixel_decoder", "predictor"
    shapes: Shapes = {f"{decoder}.encoder.level_encoding": [3, wide]}
    for level in range(3):
        shapes |= pair(f"{decoder}.input_convs.{level}.0", wide, 4096, 1, 1)
        shapes |= pair(f"{decoder}.input_convs.{level}.1", wide)
    for layer in range(6):
        name = f"{decoder}.encoder.encoder.layers.{layer}"
        shapes |= pair(f"{name}.self_attn.sampling_offsets", 384, wide)
        shapes |= pair(f"{name}.self_attn.attention_weights", 192, wide)
        shapes |= pair(f"{name}.self_attn.value_proj", wide, wide) | pair(f"{name}.self_attn.output_proj", wide, wide)
        shapes |= pair(f"{name}.norm1", wide) | pair(f"{name}.norm2", wide)
        shapes |= pair(f"{name}.linear1", network, wide) | pair(f"{name}.linear2", wide, network)
    for name, shape in (("lateral_convs", (wide, 4096, 1, 1)), ("output_convs", (wide, wide, 3, 3))):
        shapes[f"{decoder}.{name}.0.weight"] = [*shape]
        shapes |= pair(f"{decoder}.{name}.0.norm", wide)
    shapes |= pair(f"{decoder}.mask_feature", wide, wide, 1, 1)
    for layer in range(9):
        for kind, attention in (("self", "self_attn"), ("cross", "multihead_attn")):
            name = f"{predictor}.transformer_{kind}_attention_layers.{layer}"
            shapes |= {f"{name}.{attention}.in_proj_weight": [3 * wide, wide]}
            shapes |= {f"{name}.{attention}.in_proj_bias": [3 * wide]}
            shapes |= pair(f"{name}.{attention}.out_proj", wide, wide) | pair(f"{name}.norm", wide)
        name = f"{predictor}.transformer_ffn_layers.{layer}"
        shapes |= pair(f"{name}.linear1", network, wide) | pair(f"{name}.linear2", wide, network)
        shapes |= pair(f"{name}.norm", wide)
    shapes |= pair(f"{predictor}.post_norm", wide) | pair(f"{predictor}.class_embed", 151, wide)
    for name, rows in (("query_feat", 100), ("query_embed", 100), ("level_embed", 3)):
        shapes[f"{predictor}.{name}.weight"] = [rows, wide]
    for layer in range(3):
        shapes |= pair(f"{predictor}.mask_embed.layers.{layer}", wide, wide)
    return shapes
