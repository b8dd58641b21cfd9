"""What every shipped codec, metric, split model and builder puts out, so that a change is noticed and gets a revision.

`tests/test_golden_outputs.py` compares. After a change that is meant, raise the ``revision`` of the class (``version``
of a builder) and write the golden outputs anew::

    python tests/golden_outputs.py

It refuses outputs that changed under an unchanged revision. Sizes and values are compared with tolerances that hold on
any machine; payloads of codecs that compute with no sums over many values also bit by bit, on machines of one kind.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset_builders.base import stored_features
from dataset_builders.full.builder import FullBuilder
from harness.metrics.base import METRICS
from harness.results.record import as_statistics, stack_statistics
from lamofcbench.builders import BUILDERS
from lamofcbench.codecs import conformance
from lamofcbench.codecs.base import CODECS, Codec
from lamofcbench.errors import DataError
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.identity import identity_of
from lamofcbench.models.hooks import HookedSplitModel
from lamofcbench.models.loading import load_model
from lamofcbench.models.vision_heads.base import BlockOutputs, VisionHead
from lamofcbench.models.vision_heads.dinov3_adapter import AdapterSizes
from lamofcbench.models.vision_heads.dinov3_dpt import DINOv3DPTHead
from lamofcbench.models.vision_heads.dinov3_segmentor import DINOv3SegmentorHead, SegmentorSizes
from lamofcbench.provenance import adapter_identity
from lamofcbench.scenarios.base import SCENARIOS

FOLDER = Path(__file__).with_name("golden")
CASES = Path(__file__).parent / "harness" / "metrics" / "cases"
COMMAND = "python tests/golden_outputs.py"

VALUE_TOLERANCE, SIZE_TOLERANCE = 1e-2, 2e-3
"""Relative. On another machine a value may fall on the other side of a rounding."""
SIZE_TOLERANCE_BYTES = 2
SLOW_CODECS = ("elic", "hyperprior", "vvc")
"""One rate point and one sample of these; they run networks or start processes."""
EXACT_CODECS = ("identity", "zstd", "uniform", "channel", "kmeans", "kivi", "kivi-entropy", "cachegen")
SPLIT_MODEL_SCENARIOS = (
    "mini-cvu-digits", "mini-cvu-scenes", "mini-cvu-depth", "mini-clu-arithmetic", "mini-clu-arithmetic-mamba",
    "mini-cau-questions", "mini-ctti-shapes", "small-clu-prose",
)  # fmt: skip
"""One of each split model and head: trained ones, whose predictions no last bit decides."""

Measured = dict[str, Any]
"""``identity``, ``outputs``, and where outputs also depend on files that are no code, ``given``: a hash of these."""


def machine() -> str:
    """What decides the last bits of sums: libraries and vector instructions."""
    return f"torch {torch.__version__}, numpy {np.__version__}, {torch.backends.cpu.get_cpu_capability()}"


# ------------------------------------------------------------------------------------------------------ measuring


def unavailable(kind: str, name: str) -> str | None:
    """Why an output cannot be made on this machine, in one line; None where it can."""
    if kind == "codecs":
        return CODECS.get(name).unavailable()
    if name == "small-clu-prose":  # of the model and the texts that others ship
        try:
            BUILDERS.get(name)().samples("test")
        except DataError as error:
            return str(error)
    return None


def codec_outputs(name: str) -> Measured:
    """Sizes, errors and payloads of a few rate points on samples of the conformance suite."""
    codec_class = CODECS.get(name)
    points = codec_class.rate_points
    chosen = [len(points) // 2] if name in SLOW_CODECS else sorted({0, len(points) // 2, len(points) - 1})
    outputs = {}
    for index in chosen:
        params = codec_class.make_params(points[index])
        codec = conformance.fit(codec_class(conformance.SPECS, params), conformance.calibration_samples())
        for kind, tokens, frames in (("typical", 17, 2), ("heavy", 33, 0))[: 1 if name in SLOW_CODECS else 2]:
            sample = conformance.make_sample(kind, tokens, frames)
            outputs[f"{codec!r} {kind}"] = _coded(codec, sample)
    return {"identity": identity_of(codec_class), "outputs": outputs}


def _coded(codec: Codec, sample: FeatureSet) -> dict[str, Any]:
    bitstream = codec.encode(sample)
    decoded = codec.decode(bitstream)
    sections = codec._open(bitstream)[0]  # without the container, whose fingerprint changes with the identity
    pairs = [(decoded[name].double(), tensor.double()) for name, tensor in sample.tensors.items() if tensor.numel()]
    found: dict[str, Any] = {
        "payload_bytes": sum(map(len, sections)),
        "error": sum(float((after - before).square().sum() / before.square().sum()) for after, before in pairs),
        "energy": sum(float(after.square().sum() / before.square().sum()) for after, before in pairs),
    }
    if codec.name in EXACT_CODECS:
        parts = [*sections, *(tensor_bytes(tensor) for tensor in decoded.tensors.values())]
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
        found["exact"] = {machine(): digest.hexdigest()[:16]}
    return found


def metric_outputs(name: str) -> Measured:
    """Statistics and score of the metric's test cases."""
    case = json.loads((CASES / f"{name}.json").read_text())
    metric = METRICS.get(name)(**case["options"])
    rows = [as_statistics(metric.statistics(s["prediction"], s["reference"])) for s in case["samples"]]
    sums = [{key: float(np.sum(value)) for key, value in sorted(row.items())} for row in rows]
    given = hashlib.sha256(json.dumps(case["samples"], sort_keys=True).encode()).hexdigest()[:16]
    outputs = {"score": float(metric.score(stack_statistics(rows))), "statistics": sums}
    return {"identity": identity_of(metric), "given": given, "outputs": outputs}


def split_model_outputs(name: str) -> Measured:
    """Features and prediction of the first test sample of a scenario."""
    if name == "hooks":
        return _hooked_outputs()
    if name in PUBLISHED_HEADS:
        return _published_head_outputs(PUBLISHED_HEADS[name])
    scenario = SCENARIOS.get(name)
    builder = BUILDERS.get(str(scenario.builder))()
    sample = builder.samples("test")[0]
    model = load_model(scenario, builder=builder)
    features = stored_features(model, sample, scenario)
    digest = hashlib.sha256(builder.content_hash(sample).encode())
    for file in builder.weight_hashes():
        digest.update(" ".join(file).encode())
    outputs = {
        "features": {tensor: _summary(value.float().numpy()) for tensor, value in features.tensors.items()},
        "prediction": _summary(model.tail([features])[0]),
    }
    return {"identity": adapter_identity(scenario), "given": digest.hexdigest()[:16], "outputs": outputs}


def _small_dpt() -> DINOv3DPTHead:
    return DINOv3DPTHead(range(4), 16, projected=8, hidden=8, head_channels=(8, 4), bins=8)


def _small_segmentor() -> DINOv3SegmentorHead:
    adapter = AdapterSizes(width=16, stem=4, heads=2, value_width=8, network=8)
    return DINOv3SegmentorHead(
        range(4), SegmentorSizes(adapter, 32, 8, 2, 1, 16, 2, 3, 16, 4, 3), crop_size=32, stride=16
    )


PUBLISHED_HEADS: dict[str, Callable[[], VisionHead]] = {
    "dinov3-dpt": _small_dpt,
    "dinov3-segmentor": _small_segmentor,
}
"""Heads that no mini scenario has, as small random ones."""


def _published_head_outputs(make: Callable[[], VisionHead]) -> Measured:
    """What the head's predictions are made from, of two random views of an image of 32 x 48 pixels."""
    source = torch.Generator().manual_seed(0)
    head = make().eval()
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=source) + (name.endswith("norm.weight")))
        blocks = {level: torch.randn(2, 9, 16, generator=source) for level in range(4)}
        image = torch.randint(0, 256, (32, 48, 3), generator=source).to(torch.uint8)
        side = {"height": 32, "width": 48}
        outputs = BlockOutputs(blocks, [2], [side], torch.nn.LayerNorm(16), 5, (2, 2), [{"image": image}])
        (assessed,) = head.assess(outputs)
    return {"identity": identity_of(type(head)), "outputs": {"assessed": _summary(assessed)}}


class _Hooked(HookedSplitModel):
    points = {"features": "0"}  # noqa: RUF012
    input_shape = (4,)

    def preprocess(self, inputs: Any) -> Any:
        return torch.tensor(inputs)

    def postprocess(self, output: Any) -> Any:
        return output.numpy()


def _hooked_outputs() -> Measured:
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
    model = _Hooked(network)
    features = model.front([0.5, -1.0, 2.0, 3.0])
    outputs = {"features": features["features"].tolist(), "prediction": model.tail([features])[0].tolist()}
    return {"identity": identity_of(HookedSplitModel), "outputs": outputs}


def _summary(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if not isinstance(value, np.ndarray):
        return value.item() if isinstance(value, np.generic) else value
    values = value.astype(np.float64)
    return {"shape": list(value.shape), "mean": float(values.mean()), "std": float(values.std())}


def packaged_builders() -> list[str]:
    """Builders whose raw data come with packages."""
    return [name for name in BUILDERS.names() if not issubclass(BUILDERS.get(name), FullBuilder)]


def builder_outputs(name: str) -> Measured:
    """How many samples a builder brings, and what the first of them are."""
    builder = BUILDERS.get(name)()
    outputs = {}
    for split in ("test", "calibration"):
        samples = builder.samples(split)
        facts = [(s.id, builder.content_hash(s), builder.reference_digest(s)) for s in samples[:8]]
        outputs[split] = {"samples": len(samples), "first": hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}
    return {"identity": identity_of(builder), "outputs": outputs}


KINDS: dict[str, tuple[Callable[[], Iterable[str]], Callable[[str], Measured]]] = {
    "codecs": (CODECS.names, codec_outputs),
    "metrics": (METRICS.names, metric_outputs),
    "split_models": (lambda: [*SPLIT_MODEL_SCENARIOS, "hooks", *PUBLISHED_HEADS], split_model_outputs),
    "builders": (packaged_builders, builder_outputs),
}


# ------------------------------------------------------------------------------------------------------ comparing


def difference(golden: Any, found: Any, where: str = "") -> str | None:
    """Where two outputs differ by more than machines do; None where they do not."""
    if isinstance(golden, dict) and isinstance(found, dict):
        if where.endswith(".exact"):
            golden, found = ({key: side[key] for key in golden.keys() & found.keys()} for side in (golden, found))
        if golden.keys() != found.keys():
            return f"{where}: {sorted(found)} where there were {sorted(golden)}"
        if "std" in golden:
            apart = max(abs(golden[key] - found[key]) for key in ("mean", "std"))
            same = golden["shape"] == found["shape"] and apart <= VALUE_TOLERANCE * golden["std"] + 1e-6
            return None if same else f"{where}: {found} where it was {golden}"
        pairs = [(golden[key], found[key], f"{where}.{key}") for key in golden]
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(golden, found, strict=True))]
    elif where.endswith("_bytes"):
        near = abs(golden - found) <= max(SIZE_TOLERANCE_BYTES, SIZE_TOLERANCE * golden)
        return None if near else f"{where}: {found} where it was {golden}"
    elif isinstance(golden, float) and isinstance(found, float):
        near = math.isclose(golden, found, rel_tol=VALUE_TOLERANCE, abs_tol=1e-6) or golden == found
        return None if near or (math.isnan(golden) and math.isnan(found)) else f"{where}: {found} where it was {golden}"
    else:
        return None if golden == found else f"{where}: {found!r} where it was {golden!r}"
    return next(filter(None, (difference(*pair) for pair in pairs)), None)


def complaint(kind: str, name: str, golden: Measured | None, found: Measured) -> str | None:
    """What is wrong with an output, and what to do; None where nothing is."""
    if golden is None:
        return f"{kind} {name!r} has no golden output; write it: {COMMAND}"
    changed = difference(golden["outputs"], found["outputs"])
    if golden["identity"] == found["identity"] and changed and golden.get("given") == found.get("given"):
        return (
            f"{kind} {name!r} ({found['identity']}) puts out something else: {changed}. Raise its revision, so that "
            f"old results are told apart, and run {COMMAND}; or undo the change"
        )
    if changed or any(golden.get(key) != found.get(key) for key in ("identity", "given")):
        return f"the golden output of {kind} {name!r} is of {golden['identity']}; write it anew: {COMMAND}"
    return None


def read(kind: str) -> dict[str, Measured]:
    """The golden outputs of a kind, by name."""
    path = FOLDER / f"{kind}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def main() -> None:
    """Writes all golden outputs, unless one has changed under an unchanged revision."""
    torch.set_num_threads(1)
    refused = []
    for kind, (names, measure) in KINDS.items():
        golden = read(kind)
        written = {}
        for name in names():
            if unavailable(kind, name):
                sys.exit(f"{kind} {name!r} cannot run here: {unavailable(kind, name)}")
            written[name] = measure(name)
            message = complaint(kind, name, golden.get(name), written[name])
            if message and "puts out something else" in message:
                refused.append(message)
                written[name] = golden[name]
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{kind}.json").write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    if refused:
        sys.exit("\n".join(refused))


if __name__ == "__main__":
    main()
