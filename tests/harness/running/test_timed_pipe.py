"""Pipes are read and written as files are, and nobody waits at them longer than agreed."""

import os
import threading
import time

import pytest

from harness.running.decoding_worker import receive, send
from harness.running.timed_pipe import TimedPipe


@pytest.fixture
def pipe():
    """Both ends of a pipe, each of which is ours."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as source, os.fdopen(writing, "wb", buffering=0) as sink:
        yield TimedPipe(source), TimedPipe(sink), sink


def soon():
    return time.monotonic() + 0.05


def test_a_message_larger_than_a_pipe_arrives_whole(pipe):
    source, sink, _ = pipe
    source.deadline = sink.deadline = time.monotonic() + 60
    content = os.urandom(2**20)
    writer = threading.Thread(target=send, args=(sink, {"tensors": [1]}, content))
    writer.start()
    assert receive(source) == ({"tensors": [1]}, bytearray(content))
    writer.join()


def test_without_a_deadline_it_waits_for_what_comes(pipe):
    source, sink, _ = pipe
    timer = threading.Timer(0.05, send, (sink, {"late": True}))
    timer.start()
    assert receive(source) == ({"late": True}, bytearray())
    timer.join()


def test_nothing_to_read_until_the_deadline(pipe):
    source, _, _ = pipe
    source.deadline = soon()
    with pytest.raises(TimeoutError):
        receive(source)


def test_a_sender_that_stops_in_the_middle(pipe):
    source, _, sink = pipe
    sink.write(b"\1\0\0")
    source.deadline = soon()
    with pytest.raises(TimeoutError):
        receive(source)


def test_a_reader_that_stops_in_the_middle(pipe):
    _, sink, _ = pipe
    sink.deadline = soon()
    with pytest.raises(TimeoutError):
        send(sink, {}, bytes(2**20))


def test_the_end_of_the_stream(pipe):
    source, _, sink = pipe
    sink.close()
    source.deadline = time.monotonic() + 60
    with pytest.raises(EOFError):
        receive(source)


def test_a_deadline_that_is_past_is_not_waited_for(pipe):
    source, _, sink = pipe
    sink.write(b"\0" * 16)
    source.deadline = time.monotonic() - 1
    with pytest.raises(TimeoutError):
        receive(source)
