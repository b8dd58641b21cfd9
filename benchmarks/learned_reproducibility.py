"""Does a bitstream of the learned codecs decode the same everywhere? States what holds, over threads and instructions.

    python benchmarks/learned_reproducibility.py [--codecs hyperprior elic] [--weights FILE] [--small]

The decoder's entropy model is computed in exact arithmetic, so a bitstream must decode under every setting to the same
latents, or be refused by its checksum; it must never decode to something else in silence. The synthesis network is
float32, so an index near a tie may come out one lower or higher elsewhere; those are counted. An encoder's analysis
network is float32 too, so that bitstreams of two settings may differ; each is valid.

Each setting is a process of its own: numbers of threads, and the vector instructions that torch and oneDNN may use,
which stand for other machines. The codecs run on the processor alone, whether there is a GPU or not.

Without ``--weights`` the networks have the published widths and random weights, those of the tests' references.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from compressai_sides.samples import made_up_features, specs_of
from safetensors.torch import load_file, save_file

from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.codecs.registry import load_saved, make_codecs
from lamofcbench.errors import BitstreamError

TESTS = Path(__file__).resolve().parents[1] / "tests/lamofcbench/codecs/learned"
sys.path.insert(0, str(TESTS))
from reference_weights import reference_state  # noqa: E402

WIDTHS = {"hyperprior": (128, 192), "elic": (192, 320)}
SMALL_WIDTHS = {"hyperprior": (32, 48), "elic": (32, 144)}
LAYOUT = "mixed"
DECODED, REFUSED = ".decoded", ".refused"

SETTINGS: dict[str, tuple[int, dict[str, str]]] = {
    "1 thread": (1, {}),
    "2 threads": (2, {}),
    "4 threads": (4, {}),
    "AVX2": (1, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
    "SSE4.1": (
        1,
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    ),
    "without oneDNN": (2, {"WITHOUT_ONEDNN": "1"}),
}
"""Name to number of threads and environment."""


def random_weights(codec: str, widths: tuple[int, int], path: Path) -> None:
    """Writes a state with the gains of the tests' reference, under which latents spread over tens of integers."""
    network = NETWORKS[codec](*widths)
    reference = load_file(TESTS / f"reference/{codec}.safetensors")
    gains = {name.removeprefix("gain:"): t.item() for name, t in reference.items() if name.startswith("gain:")}
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    biases = {name: torch.zeros(shapes[name]) for name in reference if name in shapes and name.endswith("bias")}
    for name, bias in biases.items():
        scales = bias if codec == "hyperprior" else bias.chunk(2)[0]
        scales.fill_(0.5 if name.startswith("g_s") else 4.0)
    network = NETWORKS[codec].from_state_dict({**network.state_dict(), **reference_state(shapes, gains, biases)})
    network.update_tables()
    save_file(network.state_dict(), path)


def work(stage: str, folder: Path, output: Path) -> None:
    """Encodes the sample into ``output``, or decodes all bitstreams of ``folder`` into it."""
    codec = load_saved(folder / "codec")
    if os.environ.get("WITHOUT_ONEDNN"):
        torch._C._set_mkldnn_enabled(False)  # the public switch warns about settings of GPUs
    if stage == "encode":
        output.write_bytes(codec.encode(made_up_features(LAYOUT, 1)))
        return
    for path in sorted(folder.glob("*.bits")):
        try:
            save_file(dict(codec.decode(path.read_bytes()).tensors), output / f"{path.stem}{DECODED}")
        except BitstreamError as error:
            (output / f"{path.stem}{REFUSED}").write_text(str(error))


def start(setting: str, stage: str, folder: Path, output: Path) -> None:
    """Runs `work` in a process under a setting."""
    threads, environment = SETTINGS[setting]
    command = [sys.executable, __file__, "--work", stage, str(folder), str(output), "--threads", str(threads)]
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    subprocess.run(command, env={**os.environ, **numbers, **environment}, check=True)


def report(codec: str, weights: Path, folder: Path) -> bool:
    """Prints what holds for a codec; True where nothing parted in silence."""
    sample = made_up_features(LAYOUT, 1)
    (made,) = make_codecs(f"{codec}:weights={weights}", specs_of(LAYOUT))
    fitted = made.fit([sample])
    fitted.save(folder / "codec")
    points = dict(zip(sample, fitted.state["points"], strict=True))
    bitstreams: dict[bytes, list[str]] = {}
    for setting in SETTINGS:
        start(setting, "encode", folder, folder / "encoded")
        bitstreams.setdefault((folder / "encoded").read_bytes(), []).append(setting)
    print(f"\n{codec}: {len(bitstreams)} different bitstreams of {len(SETTINGS)} encoders, {sample.elements} values")
    for number, (data, settings) in enumerate(bitstreams.items()):
        (folder / f"{number}.bits").write_bytes(data)
        print(f"  {len(data)} bytes by {', '.join(settings)}", flush=True)
    first: Path | None = None
    honest = True
    for setting in SETTINGS:
        output = folder / f"by {setting}"
        output.mkdir()
        start(setting, "decode", folder, output)
        first = first or output
        refused, (moved, parted) = len(list(output.glob(f"*{REFUSED}"))), differences(first, output, points)
        honest &= parted == 0
        print(
            f"  by {setting}: {len(bitstreams) - refused} decoded, {refused} refused; {moved} values at the "
            f"neighbouring point and {parted} elsewhere, compared with {next(iter(SETTINGS))}",
            flush=True,
        )
    return honest


def differences(first: Path, output: Path, points: dict[str, torch.Tensor]) -> tuple[int, int]:
    """How many values of the decoded tensors of two folders lie one point, and more than one, apart."""
    moved = parted = 0
    for path in sorted(output.glob(f"*{DECODED}")):
        expected = load_file(first / path.name)
        for name, tensor in load_file(path).items():
            indices = [torch.searchsorted(points[name], values.contiguous()) for values in (tensor, expected[name])]
            apart = (indices[0] - indices[1]).abs()
            moved, parted = moved + int((apart == 1).sum()), parted + int((apart > 1).sum())
    return moved, parted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codecs", nargs="+", choices=list(WIDTHS), default=list(WIDTHS))
    parser.add_argument("--weights", type=Path, help="of the one codec that is named")
    parser.add_argument("--small", action="store_true", help="random weights of reduced widths")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.work:
        stage, folder, output = arguments.work
        return work(stage, Path(folder), Path(output))
    honest = True
    for codec in arguments.codecs:
        with tempfile.TemporaryDirectory() as name:
            weights = arguments.weights or Path(name) / "weights.safetensors"
            if not arguments.weights:
                random_weights(codec, (SMALL_WIDTHS if arguments.small else WIDTHS)[codec], weights)
            honest &= report(codec, weights, Path(name))
    if not honest:
        raise SystemExit("error: an encoder and a decoder parted without a word")


if __name__ == "__main__":
    main()
