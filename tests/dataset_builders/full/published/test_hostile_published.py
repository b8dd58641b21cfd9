"""Published files that somebody made to do harm, or that came damaged, become one clear line."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import published_layout as layout
import pytest
import zstandard
from PIL import Image

from dataset_builders.full.published.importing import import_published
from lamofcbench.errors import DataError
from lamofcbench.storage import open_split

RAN = "ran-code"


class Hostile:
    def __reduce__(self):
        return os.mkdir, (RAN,)


def zipped(pickled, **records):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in records.items():
            archive.writestr(f"archive/{name}", content)
    return zstandard.compress(buffer.getvalue())


def compressed_zeros(count, declared):
    out = io.BytesIO()
    size = {"size": count} if declared else {}
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False, **size) as writer:
        writer.write(b"PK\x03\x04" + bytes(26))
        for start in range(30, count, 2**24):
            writer.write(bytes(min(2**24, count - start)))
    return out.getvalue()


def nested_lists():
    """Lists that refer to one list many times, level upon level: 10 ** 20 entries."""
    node = [0] * 10
    for _ in range(20):
        node = [node] * 10
    return {"features": node}


def followed_by_zeros(count):
    """A whole archive, and then a bomb, of undeclared size."""
    archive = zstandard.ZstdDecompressor().decompress(layout.saved(layout.depth()))
    out = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
        writer.write(archive)
        for _ in range(count // 2**24):
            writer.write(bytes(2**24))
    return out.getvalue()


GOOD = layout.saved(layout.depth())
HOSTILE = {
    "a pickle that runs code": (zipped(pickle.dumps({"a": Hostile()}, 2)), r"names 'posix\.mkdir'|names 'nt\.mkdir'"),
    "newer opcodes": (zipped(pickle.dumps({"a": Hostile()}, 4)), r"names 'posix\.mkdir'|names 'nt\.mkdir'"),
    "a set": (zipped(pickle.dumps({"a": {1}}, 4)), "EMPTY_SET"),
    "a class": (zipped(pickle.dumps(Path, 2)), "names 'pathlib"),
    "no mark": (zipped(b"\x80\x02t."), "damaged pickle"),
    "a huge text": (zipped(b"\x80\x02X\xff\xff\xff\x7fa."), "damaged|ends"),
    "endless lists": (layout.saved(nested_lists()), "more than 8 deep|more entries"),
    "truncated": (GOOD[: len(GOOD) // 2], "truncated|ends"),
    "nearly whole": (GOOD[:-20], "truncated|ends|archive"),
    "undeclared, truncated": (layout.saved(layout.depth(), declared=False)[:900], "ends|archive|pickle"),
    "empty": (b"", "is empty"),
    "no zstd": (b"hello, this is text", "cannot be decompressed"),
    "no zip": (zstandard.compress(b"hello" * 100), "no archive of torch.save"),
    "another object": (layout.saved([1, 2]), "instead of a dict"),
    "tensors missing": (layout.saved(layout.classified()), "no tensor 'block.9'|no tensor 'block.19'"),
    "another shape": (layout.saved({f"layer.{b}": layout.values(2, 7, 9) for b in (9, 19, 29, 39)}), r"\[2, 7, 9\]"),
    "another type": (layout.saved({f"layer.{b}": layout.values(2, 7, 8).double() for b in (9, 19, 29, 39)}), "float64"),
    "tokens that differ": (layout.saved({f"layer.{b}": layout.values(2, b, 8) for b in (9, 19, 29, 39)}), r"\[2, 19"),
    "two spellings": (layout.saved({**layout.depth(), **layout.depth(prefix="layer")}), "twice"),
    "a declared bomb": (compressed_zeros(2**27, True), "declares 134217728 bytes"),
    "a bomb behind an archive": (followed_by_zeros(2**25), "holds more than 10[0-9]{5} bytes"),
    "an undeclared bomb": (compressed_zeros(2**27, False), "no archive of torch.save|holds more than|data.pkl"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_line_that_names_it(source, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, complaint = HOSTILE[case]
    raw = tmp_path / "raw" / "a"
    raw.mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(np.ones((3, 4), np.uint16)).save(raw / f"sync_depth_{number}.png")
    folder = source({"a-rgb_1-wflip.zst": content, "a-rgb_2-wflip.zst": GOOD})
    scenario = layout.tiny("cvu-nyuv2")
    with pytest.raises(DataError, match=complaint) as caught:
        import_published(scenario, folder, tmp_path / "out", raw=tmp_path / "raw")
    message = str(caught.value)
    assert message.startswith(str(folder / "a-rgb_1-wflip.zst")) and "\n" not in message and len(message) < 800
    told = []
    imported = import_published(
        scenario, folder, tmp_path / "out", raw=tmp_path / "raw", on_error="skip", tell=told.append
    )
    assert told == [message] == list(imported.skipped) and imported.samples == {"test": 1}
    assert open_split(scenario, "test", tmp_path / "out").sample_id(0) == "a-rgb_2"
    assert not (tmp_path / RAN).exists()


def test_a_directory_that_lies_about_places_is_found_out(source, tmp_path):
    archive = bytearray(zstandard.ZstdDecompressor().decompress(GOOD))
    at = archive.index(b"archive/data/1", archive.index(b"PK\x01\x02"))  # in the directory
    archive[at + 13 : at + 14] = b"0"
    folder = source({"a-rgb_1-wflip.zst": zstandard.compress(bytes(archive))})
    (tmp_path / "raw" / "a").mkdir(parents=True)
    Image.fromarray(np.ones((3, 4), np.uint16)).save(tmp_path / "raw" / "a" / "sync_depth_1.png")
    with pytest.raises(DataError, match=r"directory|no record|archive"):
        import_published(layout.tiny("cvu-nyuv2"), folder, tmp_path / "out", raw=tmp_path / "raw")


def nested(depth):
    """A tuple that holds another twice, and so on: a few bytes, which written out are 2 to the power of the depth."""
    steps = [b"\x80\x04)\x94"]
    for at in range(depth):
        steps.append(b"h" + bytes([at]) + b"h" + bytes([at]) + b"\x86\x94")
    return b"".join(steps)


@pytest.mark.parametrize(
    "end",
    [
        b"h\x3ch\x3c\x93.",  # a class of this name
        b"ctorch\ndevice\nh\x3c\x85R.",
        b"cnumpy\ndtype\nh\x3c\x85R.",
        b"c_codecs\nencode\nX\x01\x00\x00\x00ah\x3c\x86R.",
        b"}h\x3cK\x01s.",  # a key of a dict
        b"h\x3cQ.",
    ],
    ids=["class", "device", "dtype", "encoding", "key", "storage"],
)
def test_tuples_that_hold_themselves_twice_over_are_refused_at_once(source, tmp_path, end):
    scenario = layout.tiny("cvu-imagenet-val")
    folder = source({"n01440764-a.zst": zipped(nested(60) + end)})
    with pytest.raises(DataError, match=r"n01440764-a\.zst: ") as caught:
        import_published(scenario, folder, tmp_path / "out")
    assert len(str(caught.value)) < 1000
