import zlib

import numpy as np
import pytest

from lamofcbench.codecs.caches import deflate
from lamofcbench.errors import BitstreamError


@pytest.mark.parametrize("data", [b"", b"a", bytes(10**6), np.random.default_rng(0).bytes(5000)])
def test_data_comes_back_and_what_follows_it_too(data):
    assert deflate.decompress(deflate.compress(data) + b"rest", len(data)) == (data, b"rest")


def test_the_stream_is_deflate_without_header_and_checksum():
    assert zlib.decompress(deflate.compress(b"tokens" * 9), -15) == b"tokens" * 9


@pytest.mark.parametrize("size", [53, 55, 10**9])
def test_another_size_is_refused(size):
    with pytest.raises(BitstreamError):
        deflate.decompress(deflate.compress(b"tokens" * 9), size)


@pytest.mark.parametrize("payload", [b"", b"\xff" * 20, deflate.compress(b"tokens" * 9)[:-1]])
def test_what_is_no_stream_is_refused(payload):
    with pytest.raises(BitstreamError):
        deflate.decompress(payload, 54)
