"""Compares the learned codecs with CompressAI 1.2.8, whose networks they reproduce: numbers, speed, memory.

    python benchmarks/compressai_comparison.py numbers|speed|memory|fixtures [--codecs hyperprior elic] [--threads 1]
        [--environment DIR] [--rounds 3]

CompressAI runs in an environment of its own, made at the first run (torch of the version that runs here, about 1 GB),
because it asks for numpy below 2 and for torchvision. Both sides are processes with the same random weights, which one
writes and the other loads strictly.

``numbers``  likelihoods, reconstruction, quantised latents and scale indices, and the coded size, at several widths;
             and size and error of features, coded as published on both sides.
``speed``    median MB/s of float32 features over interleaved rounds: features in memory to strings and back, the
             k-means quantiser included; CompressAI in the published pipeline (each plane padded with zeros to multiples
             of 64), ours with folded planes and with the whole bitstream.
``memory``   the most memory that a process holds when it codes two levels of DINOv3, 34 MB.
``fixtures`` writes ``tests/lamofcbench/codecs/learned/reference/``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from compressai_sides.processes import Side, our_side, reference_side
from compressai_sides.samples import write_features
from safetensors.torch import load_file, save_file

TESTS = Path(__file__).resolve().parents[1] / "tests/lamofcbench/codecs/learned"
sys.path.insert(0, str(TESTS))
from reference_weights import reference_planes  # noqa: E402

PUBLISHED = {"hyperprior": (128, 192), "elic": (192, 320)}
WIDTHS = {"hyperprior": ((8, 12), (128, 192), (192, 320)), "elic": ((16, 144), (192, 320))}
FIXTURES = {"hyperprior": ((8, 12), (2, 64, 128)), "elic": ((16, 144), (1, 64, 64))}
"""Widths, and number, height and width of the planes."""
PLANES = ((2, 128, 256), (1, 64, 1088))
"""Of the comparison of numbers; the second is wider than a tile."""
FIXTURE_SEEDS = 64


def make_state(reference: Side, codec: str, widths: tuple[int, int], folder: Path) -> Path:
    """The state of a network with random weights, which stays loaded on CompressAI's side."""
    save_file({"planes": reference_planes(2, 128, 256, seed=3)}, folder / "planes.safetensors")
    state, recipe = folder / "state.safetensors", folder / "recipe.safetensors"
    planes = folder / "planes.safetensors"
    reference(
        "make_model",
        codec=codec,
        channels=widths[0],
        latent_channels=widths[1],
        planes=planes,
        state=state,
        recipe=recipe,
        seed=0,
    )
    return state


def numbers(reference: Side, ours: Side, codecs: list[str], folder: Path) -> None:
    """Prints how many values differ, and by how much."""
    theirs, own, fresh = (folder / f"{name}.safetensors" for name in ("theirs", "own", "fresh"))
    for codec, widths in [(name, widths) for name in codecs for widths in WIDTHS[name]]:
        state = make_state(reference, codec, widths, folder)
        for shape in PLANES:
            planes = folder / "planes.safetensors"
            save_file({"planes": reference_planes(*shape, seed=4)}, planes)
            their_bytes = reference("numbers", codec=codec, planes=planes, output=theirs)
            own_bytes = ours("numbers", codec=codec, state=state, planes=planes, output=own)
            print(f"\n{codec} N={widths[0]} M={widths[1]}, {shape[0]} planes of {shape[1]}x{shape[2]}")
            print(f"  {'bytes':<16}{own_bytes} against {their_bytes}: {own_bytes / their_bytes - 1:+.3%}")
            own_tensors = load_file(own)
            for name, tensor in sorted(load_file(theirs).items()):
                difference = (tensor.double() - own_tensors[name].double()).abs()
                unequal = f"{int((difference > 0).sum())} of {difference.numel()} differ"
                print(f"  {name:<16}{unequal}, at most by {float(difference.max()):.2g}")
        if widths == PUBLISHED[codec]:
            ours("new_state", codec=codec, channels=widths[0], latent_channels=widths[1], state=fresh)
            print(f"  CompressAI loads a new state of ours: {reference('load_model', codec=codec, state=fresh)}")
            reference("load_model", codec=codec, state=state)
            prepare(reference, ours, codec, "mixed", state, folder, "packing=published,assignment=published")
            for name, side in (("CompressAI", reference), ("ours", ours)):
                size, error = side("encode")["bytes"], side("decode")["mse"]
                print(f"  features as published by {name}: {size} bytes, mean squared error {error:.6g}")


def prepare(reference: Side, ours: Side, codec: str, layout: str, state: Path, folder: Path, settings: str) -> float:
    """Gives both sides the features of a layout; returns their megabytes."""
    features, planes, points = (folder / f"{name}.safetensors" for name in ("features", "feature_planes", "points"))
    megabytes = write_features(layout, 0, features)
    ours(
        "prepare",
        codec=codec,
        state=state,
        layout=layout,
        features=features,
        planes=planes,
        points=points,
        settings=settings,
        folder=folder / "codec",
    )
    reference("prepare", codec=codec, features=planes, points=points)
    return megabytes


def speed(reference: Side, ours: Side, codecs: list[str], folder: Path, rounds: int) -> None:
    """Prints medians over rounds in which the sides take turns; a first one warms up."""
    for codec in codecs:
        state = make_state(reference, codec, PUBLISHED[codec], folder)
        for layout in ("caches", "states", "pooled"):
            megabytes = prepare(reference, ours, codec, layout, state, folder, "packing=folded")
            seconds: dict[tuple[str, str], list[float]] = {}
            facts: dict[str, dict[str, float]] = {}
            for number in range(rounds + 1):
                for name, side in (("CompressAI", reference), ("ours", ours)):
                    for stage in ("encode", "decode"):
                        answer = side(stage)
                        facts.setdefault(name, {}).update(answer)
                        if number:
                            seconds.setdefault((name, stage), []).append(answer["processor_s"])
            print(f"\n{codec}, {layout}: {megabytes:.2f} MB, {rounds} rounds")
            for stage in ("encode", "decode"):
                theirs, own = (megabytes / statistics.median(seconds[name, stage]) for name in ("CompressAI", "ours"))
                print(f"  {stage}: CompressAI {theirs:.3f} MB/s, ours {own:.3f} MB/s, {own / theirs:.2f} times as fast")
            for name, fact in facts.items():
                print(f"  {name}: {fact['bytes']} bytes, mean squared error {fact['mse']:.4g}")


def memory(environment: Path, threads: int, codecs: list[str], folder: Path) -> None:
    """Prints the peak memory of processes that do nothing else."""
    for codec in codecs:
        with reference_side(environment, threads) as reference, our_side(threads) as preparing:
            state = make_state(reference, codec, PUBLISHED[codec], folder)
            megabytes = prepare(reference, preparing, codec, "vit", state, folder, "packing=folded")
        print(f"\n{codec}: {megabytes:.1f} MB of features")
        for name in ("ours", "CompressAI"):
            with our_side(threads) if name == "ours" else reference_side(environment, threads) as side:
                if name == "ours":
                    side("load_codec", folder=folder / "codec", layout="vit", features=folder / "features.safetensors")
                else:
                    side("load_model", codec=codec, state=state)
                    planes, points = folder / "feature_planes.safetensors", folder / "points.safetensors"
                    side("prepare", codec=codec, features=planes, points=points)
                before = side("peak_memory_bytes") / 1e6
                times = {stage: side(stage) for stage in ("encode", "decode")}
                peak = side("peak_memory_bytes") / 1e6
            seconds = ", ".join(f"{stage} {fact['processor_s']:.1f} s" for stage, fact in times.items())
            print(f"  {name}: {peak:.0f} MB at most, {before:.0f} MB before coding ({seconds})")


def fixtures(reference: Side, codecs: list[str], folder: Path) -> None:
    """Writes the committed references."""
    (TESTS / "reference").mkdir(exist_ok=True)
    for codec in codecs:
        (channels, latent_channels), shape = FIXTURES[codec]
        make_state(reference, codec, (channels, latent_channels), folder)
        output = TESTS / f"reference/{codec}.safetensors"
        recipe = folder / "recipe.safetensors"
        facts = reference("write_fixture", codec=codec, shape=shape, seeds=FIXTURE_SEEDS, recipe=recipe, output=output)
        output.chmod(0o644)
        print(f"{output}: {output.stat().st_size} bytes, {facts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("numbers", "speed", "memory", "fixtures"))
    parser.add_argument("--codecs", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument(
        "--environment", type=Path, default=Path("build/compressai"), help="where CompressAI is, or goes"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.reconfigure(line_buffering=True)  # long work should show what it has found so far
    with tempfile.TemporaryDirectory() as name:
        folder, environment = Path(name), arguments.environment.absolute()
        if arguments.part == "memory":
            return memory(environment, arguments.threads, arguments.codecs, folder)
        with reference_side(environment, arguments.threads) as reference:
            if arguments.part == "fixtures":
                return fixtures(reference, arguments.codecs, folder)
            with our_side(arguments.threads) as ours:
                if arguments.part == "numbers":
                    return numbers(reference, ours, arguments.codecs, folder)
                speed(reference, ours, arguments.codecs, folder, arguments.rounds)


if __name__ == "__main__":
    main()
