"""A small share of the benchmark of hostile input, and the rules by which it counts."""

import json
import sys
import time
from random import Random

import numpy as np
import pytest

from benchmarks import hostile_input
from benchmarks.hostile import child, mutations, streams, targets
from benchmarks.hostile.child import Batch, run_cases
from benchmarks.hostile.codec_folders import CodecTemplate
from benchmarks.hostile.datasets import DatasetTemplate
from benchmarks.hostile.files import FilesCases
from benchmarks.hostile.honest import COSTLY, odd_source
from benchmarks.hostile.journal import Journal
from benchmarks.hostile.json_mutations import mutate_json
from benchmarks.hostile.judge import LONGEST_MESSAGE, MemoryMeter, Outcome, judge, message_fault
from benchmarks.hostile.streams import StreamCases, forge
from benchmarks.hostile.supervisor import Supervisor
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import BitstreamError, DataError, LaMoFCBenchError, ResultsError

SEED = 20
SHARE = {name: 150 for name in targets.codec_names() if name not in COSTLY}
"""The others take seconds to start; the conformance suite has crafted streams for them too."""


def findings(target, cases, count):
    [*batches] = run_cases(target, cases, 0, count, MemoryMeter())
    assert sum(sum(batch.counts.values()) for batch in batches) == count
    return [finding for batch in batches for finding in batch.findings]


# ---------------------------------------------------------------------------------------------- a share of all targets


@pytest.mark.parametrize("name", SHARE)
def test_mutated_bitstreams_are_refused_or_decoded(name):
    cases = StreamCases(name, SEED, [odd_source(name)])
    assert cases.honest().run() is None
    assert findings(name, cases, SHARE[name]) == []


@pytest.mark.parametrize(
    "name", ["uniform", "kmeans", "zstd", "kivi-entropy", "jpeg2000", "kvtc", "kvtc-entropy", "cachegen"]
)
def test_mutated_codec_folders_are_refused_or_used(name):
    if reason := CODECS.get(name).unavailable():
        pytest.skip(reason)
    assert findings("codec-folder", FilesCases("codec-folder", SEED, {CodecTemplate(odd_source(name)): 1}), 40) == []


@pytest.mark.parametrize("target", ["manifest", "index", "shard"])
def test_mutated_datasets_are_refused_or_read(target):
    cases = FilesCases(target, SEED, {DatasetTemplate(target): 1})
    assert cases.honest().run() is None
    assert findings(target, cases, 40) == []


# --------------------------------------------------------------------------------------------------------------- cases


def test_a_case_follows_from_seed_and_number():
    first, again, other = (StreamCases("uniform", seed, [odd_source("uniform")]) for seed in (1, 1, 2))
    made = [case.make(n).data for case in (first, again, other) for n in (5, 77)]
    assert made[:2] == made[2:4] and made[:2] != made[4:]
    assert len({first.make(n).data for n in range(50)}) > 40
    assert {first.make(n).kind for n in range(100)} == {
        "damaged", "forged", "crafted sections", "crafted claims", "crafted bodies"
    }  # fmt: skip


def test_forging_makes_damaged_bytes_reach_the_decoder():
    source = odd_source("identity")
    data = bytearray(source.streams[2].data)
    data[len(data) // 2] ^= 1
    with pytest.raises(BitstreamError, match="checksum"):
        source.codec.decode(bytes(data))
    source.codec.decode(forge(bytes(data), source.codec.fingerprint))
    assert forge(source.streams[2].data, source.codec.fingerprint) == source.streams[2].data


def test_claims_beyond_the_limits_are_made_and_are_refused_by_name():
    cases = StreamCases("mean", SEED, [odd_source("mean")])
    codec = odd_source("mean").codec
    beyond = [case for case in map(cases.make, range(300)) if any(
        size > axis.limit
        for size, axis in zip(streams.claimed_sizes(codec, case.data) or (), codec.specs.axes, strict=False)
    )]  # fmt: skip
    assert len(beyond) > 10
    for case in beyond:
        with pytest.raises(BitstreamError, match=r"at most (4096|256) is possible"):
            case.run()


@pytest.mark.parametrize("mutation", mutations.MUTATIONS)
@pytest.mark.parametrize("data", [b"", b"a", b"abc" * 100])
def test_every_mutation_takes_any_bytes(mutation, data):
    for seed in range(20):
        assert isinstance(mutation(data, b"donor", Random(seed)), bytes)


def test_mutated_json_is_mostly_json_and_seldom_the_same():
    text = json.dumps({"a": [1, {"b": "c"}], "d": None}).encode()
    mutated = [mutate_json(text, Random(seed)) for seed in range(200)]
    assert sum(m == text for m in mutated) < 10
    assert any(m.count(b"[") > 100_000 for m in mutated) and any(b"NaN" in m for m in mutated)


# ------------------------------------------------------------------------------------------------------ what is counted


class MadeUpCase:
    def __init__(self, run, honest=lambda: None, in_process=True):
        self.run, self._honest, self.in_process = run, honest, in_process

    def describe(self):
        return "made up"

    def honest_run(self):
        return self._honest


def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def raising(error):
    def run():
        raise error

    return MadeUpCase(run)


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        (MadeUpCase(lambda: None), Outcome.ACCEPTED),
        (MadeUpCase(lambda: "is not finite"), Outcome.WRONG),
        (raising(BitstreamError("no")), Outcome.REFUSED),
        (raising(DataError("two\nlines")), Outcome.MESSAGE),
        (raising(LaMoFCBenchError("x" * 2000)), Outcome.MESSAGE),
        (raising(ValueError("no")), Outcome.FOREIGN),
        (raising(RecursionError("deep")), Outcome.FOREIGN),
        (raising(BaseException("a panic")), Outcome.FOREIGN),
        (raising(MemoryError()), Outcome.MEMORY),
        (MadeUpCase(lambda: work(0.15)), Outcome.SLOW),
        (MadeUpCase(lambda: work(0.15), lambda: work(0.02)), Outcome.ACCEPTED),
        (MadeUpCase(lambda: time.sleep(0.15), in_process=False), Outcome.ACCEPTED),
        (MadeUpCase(lambda: np.ones(2**24) is None or None), Outcome.MEMORY),
        (MadeUpCase(lambda: np.ones(2**24) is None or None, lambda: np.ones(2**22)), Outcome.ACCEPTED),
    ],
)  # fmt: skip
def test_what_becomes_of_a_case(case, outcome):
    if outcome is Outcome.MEMORY and sys.platform != "linux":
        pytest.skip("memory is measured on Linux")
    assert judge(case, MemoryMeter()).outcome is outcome


def test_other_processes_are_timed_on_the_wall(monkeypatch):
    monkeypatch.setattr("benchmarks.hostile.judge.PROCESS_GRACE_SECONDS", 0.05)
    assert judge(MadeUpCase(lambda: time.sleep(0.06), in_process=False), MemoryMeter()).outcome is Outcome.SLOW


def test_a_refusal_for_want_of_memory_counts_as_memory():
    def run():
        try:
            raise MemoryError("2 TiB")
        except MemoryError as error:
            raise BitstreamError("cannot decode") from error

    assert judge(MadeUpCase(run), MemoryMeter()).outcome is Outcome.MEMORY


def test_a_message_is_one_printable_line_of_bounded_length():
    assert message_fault("shard /data/größe.safetensors is damaged") is None
    assert message_fault("a" * LONGEST_MESSAGE) is None
    for message in ("", "a\nb", "a\0b", "\u202e", "a" * (LONGEST_MESSAGE + 1)):
        assert message_fault(message) is not None


def test_a_million_cases_are_shared_out_by_speed():
    shares = targets.allotted([*targets.codec_names(), *targets.FILES], 1_000_000, 10_000)
    codecs = {name: count for name, count in shares.items() if name not in targets.FILES}
    assert sum(codecs.values()) == pytest.approx(1_000_000, abs=20) and min(codecs.values()) >= 2000
    assert sum(shares[name] for name in targets.FILES) >= 10_000


# ------------------------------------------------------------------------------------------- processes and the journal

# A child that takes no time to start: it dies over case 3, hangs over case 6, and speaks the protocol otherwise.
CHILD = """
import json, os, struct, sys, time
counter = open(sys.argv[2], "r+b", buffering=0)
for line in sys.stdin:
    target, start, stop = json.loads(line)
    for number in range(start, stop):
        counter.seek(0), counter.write(struct.pack("<q", number))
        if number == 3:
            os.abort()
        if number == 6:
            time.sleep(60)
        print(json.dumps({"target": target, "start": number, "stop": number + 1, "counts": {"refused": 1}}), flush=True)
"""


def test_a_crash_and_a_hang_are_findings_and_everything_else_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.hostile.supervisor.COMMAND", [sys.executable, "-c", CHILD])
    with Supervisor(SEED, tmp_path / "log", hang_seconds=1.0) as supervisor:
        batches = list(supervisor.run("toy", 0, 10))
    assert sorted(batch.start for batch in batches) == list(range(10))
    found = {f["case"]: f["detail"] for batch in batches for f in batch.findings}
    assert found == {"toy:3": "ends the process by SIGABRT", "toy:6": "takes more than 1 s"}


def test_the_benchmark_resumes_and_repeats_a_case(tmp_path, capsys):
    arguments = ["--streams", "30", "--files", "0", "--codecs", "identity", "--output", str(tmp_path)]
    assert hostile_input.main(arguments) == 0  # in a process of its own
    journal = (tmp_path / "seed-1.jsonl").read_text()
    assert hostile_input.main(arguments) == 0
    assert (tmp_path / "seed-1.jsonl").read_text() == journal
    assert "0 findings, seed 1" in capsys.readouterr().out
    assert hostile_input.main(["--case", "identity:7"]) == 0
    assert "bytes for embeddings identity" in capsys.readouterr().out


def test_a_journal_knows_what_is_missing_and_whose_it_is(tmp_path):
    journal = Journal(tmp_path / "j.jsonl", 1)
    for start, stop in ((0, 10), (20, 30)):
        journal.add(Batch("uniform", start, stop, counts={"refused": 9, "slow": 1}, findings=[{"case": "uniform:3"}]))
    with journal.path.open("a") as file:
        file.write('{"target": "unif')  # a run that was killed while it wrote
    again = Journal(journal.path, 1)
    assert again.missing("uniform", 40) == [(10, 20), (30, 40)] and again.missing("uniform", 15) == [(10, 15)]
    assert len(again.findings()) == 2 and "20" in again.table()
    with pytest.raises(ResultsError, match="is of seed 1, not 2"):
        Journal(journal.path, 2)
    journal.path.write_text("no journal\n")
    with pytest.raises(ResultsError, match="name another --output"):
        Journal(journal.path, 1)


def test_batches_are_handed_over_while_cases_run(monkeypatch):
    monkeypatch.setattr(child, "BATCH_SECONDS", 0.0001)

    class Cases:
        def make(self, number):
            return MadeUpCase(lambda: time.sleep(0.001))

    noted = []
    batches = list(run_cases("toy", Cases(), 2, 7, MemoryMeter(), noted.append))
    assert [(batch.start, batch.stop) for batch in batches] == [(n, n + 1) for n in range(2, 7)]
    assert noted == [2, 3, 4, 5, 6]
