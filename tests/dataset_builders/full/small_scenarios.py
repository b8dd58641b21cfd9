"""Full scenarios on small random models of the real classes, and raw data in the published layouts."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch
from PIL import Image

from dataset_builders.mini._files import WEIGHTS
from lamofcbench.models.vision_heads.dinov3_dpt import DINOv3DPTHead
from lamofcbench.scenarios.base import SCENARIOS, Scenario

MODEL_TESTS = Path(__file__).parents[2] / "lamofcbench" / "models"
sys.path.append(str(MODEL_TESTS))
try:
    from conftest_models import randomised
    from small_segmentor import small_segmentor
finally:
    sys.path.remove(str(MODEL_TESTS))

LEVELS, WIDTH, CLASSES = (0, 2, 4, 5), 32, 1000
TEST, CALIBRATION = 3, 2
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% if not loop.last %}={% endif %}{% endfor %}"


def small(id: str, weights: Path, options: dict[str, Any], drop: tuple[str, ...] = (), **fields: Any) -> Scenario:
    """A full scenario on other weights, with few samples."""
    full = SCENARIOS.get(id)
    kept = {name: value for name, value in full.backbone.options.items() if name not in drop}
    backbone = full.backbone.model_copy(update={"source": str(weights), "options": {**kept, **options}})
    fields = {"test_samples": TEST, "calibration_samples": CALIBRATION, **fields}
    return full.model_copy(update={"backbone": backbone, **fields})


def blocks(id: str, levels: tuple[int, ...]) -> dict[str, Any]:
    specs = SCENARIOS.get(id).tensors
    tensors = tuple(
        specs[0].model_copy(update={"name": f"block.{level}", "shape": (*specs[0].shape[:-1], WIDTH)})
        for level in levels
    )
    return {"tensors": tensors, "splits": levels}


def backbone(folder: Path) -> Path:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=6, num_attention_heads=4, patch_size=16,
        image_size=64, num_register_tokens=4,
    )  # fmt: skip
    randomised(DINOv3ViTModel(config)).save_pretrained(folder)
    return folder


def classification(folder: Path, id: str = "cvu-imagenet-val") -> Scenario:
    source = torch.Generator().manual_seed(0)
    head = {"weight": torch.randn(CLASSES, 2 * WIDTH, generator=source), "bias": torch.randn(CLASSES, generator=source)}
    torch.save(head, backbone(folder) / "head.pth")
    return small(id, folder, {"image_size": 64, "head_file": "head.pth"}, **blocks(id, (5,)))


def depth(folder: Path) -> Scenario:
    head = randomised(DINOv3DPTHead(LEVELS, WIDTH, projected=8, hidden=8, head_channels=(8, 4), bins=8))
    torch.save(head.state_dict(), backbone(folder) / "head.pth")
    options = {"image_size": [96, 128], "head_file": "head.pth"}
    return small("cvu-nyuv2", folder, options, **blocks("cvu-nyuv2", LEVELS))


def segmentation(folder: Path) -> Scenario:
    torch.save(small_segmentor().state_dict(), backbone(folder) / "head.pth")
    options = {"classes": 5, "crop_size": 64, "stride": 40, "attention_heads": 8, "head_file": "head.pth"}
    metric = {"num_classes": 5, "reduce_zero_label": True}
    return small("cvu-ade20k", folder, options, metric_options=metric, **blocks("cvu-ade20k", LEVELS))


def tokenizer() -> Any:
    """Single characters, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<eos>", "<unk>", *map(chr, range(32, 127)), "\n"]
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    backend.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    made.chat_template = TEMPLATE
    return made


def language(folder: Path, id: str = "clu-gsm8k") -> Scenario:
    """A decoder of two layers, split after the first."""
    tokenizer().save_pretrained(folder)
    specs = SCENARIOS.get(id).tensors
    if id.endswith("-mamba"):
        from transformers import FalconMambaConfig, FalconMambaForCausalLM

        config: Any = FalconMambaConfig(
            vocab_size=100, hidden_size=16, intermediate_size=24, state_size=4, num_hidden_layers=2, time_step_rank=4,
            conv_kernel=4, pad_token_id=0, eos_token_id=1, bos_token_id=1,
        )  # fmt: skip
        randomised(FalconMambaForCausalLM(config), spread=0.3).save_pretrained(folder)
        shapes = {"ssm_state.0": (24, 4), "conv_state.0": (24, 4), "hidden": (specs[-1].shape[0], 16)}
    else:
        from transformers import Qwen3Config, Qwen3ForCausalLM

        config = Qwen3Config(
            vocab_size=100, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, pad_token_id=0, eos_token_id=1, rope_theta=1e6,
        )  # fmt: skip
        randomised(Qwen3ForCausalLM(config), spread=0.3).save_pretrained(folder)
        shapes = dict.fromkeys(("key.0", "value.0"), (1, specs[0].shape[1], 8))
        shapes["hidden"] = (specs[-1].shape[0], 16)
    tensors = tuple(spec.model_copy(update={"shape": shapes[spec.name]}) for spec in specs if spec.name in shapes)
    return small(id, folder, {}, tensors=tensors, splits=(0,))


def speech(id: str) -> Scenario:
    """On the mini edition's Kimi-Audio."""
    mini = SCENARIOS.get("mini-cau-questions")
    options = {"encoder": "encoder", "placeholder": "<|audio|>", "max_new_tokens": 4}
    fields = {"tensors": mini.tensors, "splits": mini.splits}
    return small(id, WEIGHTS / "speech-kimi", options, drop=("audio_tokenizer", "compute_dtype"), **fields)


def generation() -> Scenario:
    """On the mini edition's pipeline."""
    mini = SCENARIOS.get("mini-ctti-shapes")
    options = {**mini.backbone.options, "num_inference_steps": 2, "controlnet": "controlnet"}
    fields = {"tensors": mini.tensors, "test_samples": 2, "calibration_samples": 1}
    drop = ("compute_dtype",)
    return small("ctti-coco-canny", WEIGHTS / "shapes-sd3", options, drop, **fields)


# -------------------------------------------------------------------------------------------------------- raw data


def picture(seed: int, height: int = 48, width: int = 64, end: str = "JPEG") -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, end)
    return buffer.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def sound(seed: int, seconds: float = 0.5, rate: int = 16000, kind: str = "FLAC") -> bytes:
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate)).astype(np.float32)
    soundfile.write(buffer, values, rate, format=kind)
    return buffer.getvalue()


def scene(folder: Path, name: str, number: int, seed: int) -> None:
    put(folder / name / f"rgb_{number:05d}.jpg", picture(seed))
    millimetres = np.random.default_rng(seed).integers(500, 9000, (48, 64)).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(millimetres).save(buffer, "PNG")
    put(folder / name / f"sync_depth_{number:05d}.png", buffer.getvalue())


def masked(folder: Path, part: str, number: int, seed: int) -> None:
    kind = "val" if part == "validation" else "train"
    stem = f"ADE_{kind}_{number:08d}"
    put(folder / "images" / part / f"{stem}.jpg", picture(seed, 64, 94))
    mask = np.random.default_rng(seed).integers(0, 6, (64, 94)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    put(folder / "annotations" / part / f"{stem}.png", buffer.getvalue())


GSM8K = """\
task: fc_gsm8k
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: answer
generation_kwargs: {until: ["Question:", "</s>", "<|im_end|>"]}
"""
CHOICE = """\
doc_to_text: "Q: {{question}}\\n{% for c in choices.text %}{{'ABCD'[loop.index0]}}. {{c}}\\n{% endfor %}"
doc_to_target: answerKey
gen_prefix: "The best answer is"
generation_kwargs: {max_gen_toks: 100, until: ["\\n\\n", "."]}
"""


def definitions(folder: Path) -> Path:
    for name, text in (("fc_gsm8k", GSM8K), ("fc_arc_challenge", CHOICE)):
        put(folder / name / f"{name}.yaml", text)
    return folder


def calculations(folder: Path, split: str, count: int = 6) -> None:
    rows = [{"question": "how " * (n + 1) + split, "answer": f"#### {n}"} for n in range(count)]
    table(folder / "main" / f"{split}-00000-of-00001.parquet", rows)


def choices(folder: Path, split: str, count: int = 4) -> None:
    rows = [
        {"question": f"{split} {n}" + "?" * n, "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}
        for n in range(count)
    ]
    table(folder / "ARC-Challenge" / f"{split}-00000-of-00001.parquet", rows)


def spoken_rows(folder: Path, seeds: range, prefix: str = "test") -> Path:
    rows = [{"audio": {"bytes": sound(seed), "path": None}, "reference": "A", "prompt": "?"} for seed in seeds]
    return table(folder / f"{prefix}-00000-of-00001.parquet", rows)


def librispeech(folder: Path, part: str, seeds: range, seconds: float = 0.5) -> None:
    lines = []
    for seed in seeds:
        put(folder / part / "84" / "121" / f"84-121-{seed:04d}.flac", sound(seed, seconds))
        lines.append(f"84-121-{seed:04d} WORDS {seed}")
    put(folder / part / "84" / "121" / "84-121.trans.txt", "\n".join(lines) + "\n")


def captioned(folder: Path, seeds: range) -> None:
    for seed in seeds:
        put(folder / f"{seed:012d}.jpg", picture(seed))
    infos = [{"image_name": f"{seed:012d}.jpg", "caption": f"a red circle {seed}"} for seed in seeds]
    put(folder / "data_infos.json", json.dumps(infos))
