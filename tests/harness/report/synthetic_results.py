"""Writes results folders as a run leaves them, with figures that are easy to reason about."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.results.result import CodecRecord, RateRecord, Result, TensorRecord, VerificationRecord

TENSORS = {"block.1": 400, "block.7": 600}  # elements a sample, fp32


@dataclass
class Writer:
    """Makes results of one scenario; every keyword of `write` has a default that is realistic."""

    root: Path
    scenario: str = "mini-cvu-digits"
    metric: str = "accuracy"
    direction: str = "up"
    samples: int = 200
    test_samples: int = 200
    context: dict = field(default_factory=dict)
    version: int = 1

    def write(
        self,
        codec: str,
        *,
        ebpfp: float,
        score: float,
        nmse: float = 0.0,
        params: dict | None = None,
        encode_seconds: float = 0.002,
        decode_seconds: float = 0.001,
        lossless: bool = False,
        trained_on: str = "nothing",
        state_bytes: int | None = None,
        fingerprint_of: str = "",
        run: dict | None = None,
        quantiser_share: float | None = None,
        identity: str | None = None,
        asked: str = "",
        verified: VerificationRecord | None = VerificationRecord(samples=3),  # noqa: B008  # frozen
    ) -> Path:
        """One result; `identity` is of the codec's code, this project's by default, `asked` when it was run (ISO)."""
        params = params or {}
        identity = f"lamofcbench:{codec}@1" if identity is None else identity
        if state_bytes is None:
            state_bytes = 0 if trained_on == "nothing" else 4096
        elements = sum(TENSORS.values())
        raw_bits = 32 * elements
        coded = np.full(self.samples, max(round(ebpfp * raw_bits / 256), 1), dtype=np.int64)
        statistics = self._statistics(score)
        told_apart_by = [codec, identity, params, fingerprint_of, self.context, self.samples]
        config = json.dumps(told_apart_by, sort_keys=True).encode()
        config_hash = hashlib.sha256(config).hexdigest()[:16]
        folder = self.root / f"{self.scenario}@{self.version}" / codec.replace("/", "_") / config_hash
        folder.mkdir(parents=True, exist_ok=True)
        rate = RateRecord(
            coded_bytes=int(coded.sum()),
            elements=elements * self.samples,
            raw_bits=raw_bits * self.samples,
            bpfp=8 * int(coded.sum()) / (elements * self.samples),
            ebpfp=32 * 8 * int(coded.sum()) / (raw_bits * self.samples),
        )
        scales = {"block.1": 4.0, "block.7": 100.0}  # the floor's MSE
        payload = int(coded.sum()) // 2 - 10
        tensors = {
            name: TensorRecord(
                elements=count * self.samples,
                mse=nmse * scales[name],
                quantiser_mse=None if quantiser_share is None else quantiser_share * nmse * scales[name],
                payload_bytes=payload,
                payload_bpfp=8 * payload / (count * self.samples),
            )
            for name, count in TENSORS.items()
        }
        fields = {
            "config_hash": config_hash,
            "scenario": self.scenario,
            "scenario_version": self.version,
            "scenario_digest": "d" * 64,
            "data_revision": "r" * 40,
            "builder_identity": "lamofcbench:builder@1",
            "metric_identity": f"lamofcbench:{self.metric}@1",
            "adapter_identity": "lamofcbench:adapter@1",
            "codec": CodecRecord(
                name=codec,
                identity=identity,
                params=params,
                fingerprint=hashlib.sha256(config).hexdigest(),
                state_bytes=state_bytes,
                trained_on=trained_on,
                lossless=lossless,
            ),
            "samples": self.samples,
            "test_samples": self.test_samples,
            "metric": self.metric,
            "direction": self.direction,
            "score": self._score(statistics),
            "rate": rate,
            "mse": sum(nmse * scales[name] * count for name, count in TENSORS.items()) / elements,
            "tensors": tensors,
            "batch_size": 32,
            "dtype": "float32",
            "device_type": "cpu",
            "seed": 0,
            "verification": verified,
        }
        result = Result(**{**fields, **self.context})
        index = np.arange(self.samples)
        uneven = 1 + 0.3 * np.sin(index * len(set(codec)))  # other samples are hard for other codecs
        uneven /= uneven.mean()
        columns = {
            "index": index,
            "sample_id": [f"s{i}" for i in index],
            "coded_bytes": coded,
            "elements": np.full(self.samples, elements),
            "raw_bits": np.full(self.samples, raw_bits),
            **{f"squared_error.{name}": nmse * scales[name] * count * uneven for name, count in TENSORS.items()},
            **{f"statistic.{name}": values for name, values in statistics.items()},
        }
        pq.write_table(pa.table(columns), folder / "samples.parquet")
        noise = 1 + 0.1 * np.cos(index)
        timings = {"index": index, "encode_seconds": encode_seconds * noise, "decode_seconds": decode_seconds * noise}
        timings |= {"tail_seconds": 0.01 * noise, "score_seconds": 1e-5 * noise}
        pq.write_table(pa.table(timings), folder / "timings.parquet")
        default_run = {"lamofcbench": "0.1.0", "commit": "0123abcd", "threads": 1, "packages": {"torch": "2.13.0"}}
        run = default_run if run is None else run
        (folder / "run.json").write_text(json.dumps(run | ({"asked": asked} if asked else {})))
        (folder / "result.json").write_text(result.model_dump_json(indent=2))
        return folder

    def _statistics(self, score: float) -> dict:
        if self.metric == "word-error-rate":
            return {"edits": _spread(score * 20 * self.samples, self.samples, 20), "words": np.full(self.samples, 20.0)}
        return {"correct": _spread(score * self.samples, self.samples, 1)}

    def _score(self, statistics: dict) -> float:
        if self.metric == "word-error-rate":
            return float(statistics["edits"].sum() / statistics["words"].sum())
        return float(statistics["correct"].mean())

    def anchor_and_floor(self, anchor: float = 0.98, floor: float = 0.1) -> None:
        self.write("identity", ebpfp=32.1, score=anchor, lossless=True, encode_seconds=1e-4, decode_seconds=1e-4)
        self.write("mean", ebpfp=0.25, score=floor, nmse=1.0, trained_on="calibration")


def _spread(total: float, samples: int, most: int) -> np.ndarray:
    """``samples`` whole numbers up to ``most`` that sum to about ``total``, in a shuffled but fixed order."""
    units = np.random.default_rng(5).permutation(samples * most)
    values = np.zeros(samples)
    np.add.at(values, units[: round(total)] % samples, 1.0)
    return values


UNIFORM = {
    0.1: (6.0, 0.98, 1e-3),
    0.3: (4.5, 0.975, 8e-3),
    1.0: (3.0, 0.96, 7e-2),
    2.0: (2.0, 0.9, 0.25),
    4.0: (1.2, 0.6, 0.6),
}
CHANNEL = {0.1: (4.0, 0.98, 1e-3), 0.5: (2.6, 0.97, 1e-2), 1.0: (1.9, 0.955, 7e-2), 2.0: (1.1, 0.8, 0.3)}


def write_realistic(root: Path) -> None:
    """Two scenarios, one of them with a metric that falls, six codecs."""
    for writer in (Writer(root, samples=650, test_samples=650), _speech(root)):
        falls = writer.direction == "down"
        writer.anchor_and_floor(*((0.05, 1.0) if falls else (0.98, 0.1)))
        writer.write("zstd", ebpfp=24.5, score=0.05 if falls else 0.98, lossless=True, encode_seconds=0.0005)
        for name, ladder, trained_on in (("uniform", UNIFORM, "calibration"), ("channel", CHANNEL, "calibration")):
            for step, (ebpfp, score, nmse) in ladder.items():
                score = 1.03 - score if falls else score
                writer.write(
                    name,
                    ebpfp=ebpfp,
                    score=score,
                    nmse=nmse,
                    params={"step": step, "table": "auto"},
                    trained_on=trained_on,
                )


def _speech(root: Path) -> Writer:
    return Writer(
        root,
        scenario="mini-cau-commands-clean",
        metric="word-error-rate",
        direction="down",
        samples=256,
        test_samples=256,
    )
