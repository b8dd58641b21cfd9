import logging

import pyarrow.parquet as pq
import pytest

from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.registry import load_file


def test_a_finished_result_is_not_computed_again(make_runner, toy, computed_batches):
    codec = make_codecs("mean", toy.specs)[0]
    first = make_runner().run_codec(codec)
    mark = (first.folder / "result.json").stat().st_mtime_ns
    computed_batches.clear()
    assert make_runner().run_codec(codec) == first
    assert computed_batches == [] and (first.folder / "result.json").stat().st_mtime_ns == mark


@pytest.mark.parametrize("batches", [0, 1, 4])
def test_an_interrupted_run_resumes_with_the_next_batch(
    make_runner, toy, tmp_path, snapshot, killed_after, computed_batches, batches
):
    codec = IdentityCodec(toy.specs)
    make_runner(results=tmp_path / "whole").run_codec(codec)
    revive = killed_after(batches)
    with pytest.raises(KeyboardInterrupt):
        make_runner().run_codec(codec)
    revive()
    computed_batches.clear()
    make_runner().run_codec(codec)
    assert computed_batches == list(range(batches, 6))
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


def test_a_codec_is_fitted_once_even_if_the_run_is_interrupted(make_runner, toy, killed_after, tmp_path):
    file = tmp_path / "counting.py"
    file.write_text(
        "import torch\n"
        "from lamofcbench.codecs.identity import IdentityCodec as Base\n"
        "FITS = []\n"
        "class Counting(Base):\n"
        "    needs_calibration = True\n"
        "    def learn(self, calibration):\n"
        "        FITS.append(1)\n"
        "        return {'draw': torch.rand(3) + len(FITS)}\n"  # never twice the same
    )
    codec = make_codecs(f"{file}:Counting", toy.specs)[0]
    revive = killed_after(2)
    with pytest.raises(KeyboardInterrupt):
        make_runner().run_codec(codec)
    revive()
    make_runner().run_codec(codec)
    make_runner().run_codec(codec)
    assert len(load_file(file).FITS) == 1
    make_runner(overwrite="always").run_codec(codec)
    assert len(load_file(file).FITS) == 2


def test_a_limit_computes_whole_batches_and_reports_the_first_samples(make_runner, toy, computed_batches):
    finished = make_runner(limit=6).run_codec(IdentityCodec(toy.specs))
    assert computed_batches == [0, 1]  # samples 0 to 7
    assert (finished.result.samples, finished.result.test_samples) == (6, 22)
    assert pq.read_table(finished.folder / "samples.parquet").column("index").to_pylist() == list(range(6))
    assert pq.read_table(finished.folder / "timings.parquet").num_rows == 6


def test_a_longer_run_reuses_the_batches_of_a_limited_one(make_runner, toy, computed_batches, tmp_path, snapshot):
    codec = IdentityCodec(toy.specs)
    make_runner(results=tmp_path / "whole").run_codec(codec)
    limited = make_runner(limit=6).run_codec(codec)
    computed_batches.clear()
    longer = make_runner().run_codec(codec)
    assert longer.folder == limited.folder and longer.result.samples == 22
    assert computed_batches == [2, 3, 4, 5]
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")
    computed_batches.clear()
    assert make_runner(limit=6).run_codec(codec).result.samples == 22  # a longer result covers a limited wish
    assert computed_batches == []


def test_overwrite_always_computes_again_and_never_keeps_shorter_results(make_runner, toy, computed_batches):
    codec = IdentityCodec(toy.specs)
    make_runner(limit=4).run_codec(codec)
    computed_batches.clear()
    assert make_runner(overwrite="never").run_codec(codec).result.samples == 4
    assert computed_batches == []
    assert make_runner(overwrite="always").run_codec(codec).result.samples == 22
    assert computed_batches == list(range(6))


def test_a_damaged_journal_line_is_computed_again(
    make_runner, toy, killed_after, computed_batches, tmp_path, snapshot, caplog
):
    codec = IdentityCodec(toy.specs)
    make_runner(results=tmp_path / "whole").run_codec(codec)
    revive = killed_after(4)
    with pytest.raises(KeyboardInterrupt):
        make_runner().run_codec(codec)
    revive()
    file = next((tmp_path / "results").rglob("0.jsonl"))
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"statistic.correct":1.0', b'"statistic.correct":0.0')  # a plausible lie
    file.write_bytes(b"".join(lines))
    computed_batches.clear()
    with caplog.at_level(logging.WARNING):
        make_runner().run_codec(codec)
    assert computed_batches == [1, 4, 5]
    assert "1 damaged journal lines are computed again" in caplog.text
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


def test_a_batch_whose_bitstreams_are_gone_is_done_again(make_runner, toy, killed_after, computed_batches, tmp_path):
    codec = IdentityCodec(toy.specs)
    revive = killed_after(3)
    with pytest.raises(KeyboardInterrupt):
        make_runner().run_codec(codec)
    revive()
    (file,) = (tmp_path / "results").rglob("5.bin")
    file.write_bytes(file.read_bytes()[:-1])  # what a power failure may leave
    computed_batches.clear()
    make_runner().run_codec(codec)
    assert computed_batches == [1, 3, 4, 5]


def test_a_damaged_saved_codec_is_saved_again(make_runner, toy, killed_after, tmp_path, snapshot):
    codec = make_codecs("mean", toy.specs)[0]
    make_runner(results=tmp_path / "whole").run_codec(codec)
    revive = killed_after(3)
    with pytest.raises(KeyboardInterrupt):
        make_runner().run_codec(codec)
    revive()
    (state,) = (tmp_path / "results").rglob("model.safetensors")
    state.write_bytes(state.read_bytes()[:-2])
    make_runner().run_codec(codec)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


def test_a_class_from_nowhere_always_runs_again_as_its_code_may_have_changed(make_runner, toy, computed_batches):
    class Notebook(IdentityCodec):
        pass

    for _ in range(2):
        make_runner().run_codec(Notebook(toy.specs))
    assert computed_batches == 2 * list(range(6))


def test_bitstreams_need_not_be_kept(make_runner, toy):
    finished = make_runner(bitstreams=False).run_codec(IdentityCodec(toy.specs))
    assert not (finished.folder / "bitstreams").exists()
