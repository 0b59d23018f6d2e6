"""What a function returns, item by item."""

from __future__ import annotations

import itertools
import os
import select
import signal
import time

import pytest
from scripted_node import PID
from support import Worker

from krait import _exits

OPENED, ITEM, RESULT, ERROR, CALLBACK = 5, 6, 2, 3, 7


class Stream:
    """A stream as the node has it."""

    def __init__(self, worker, function, *args, credit=16, module="krait_streams", **meta):
        self.worker = worker
        self.id = worker.cast(module, function, *args, meta={"stream": credit, **meta})

    def opened(self):
        assert self.worker.receive() == [OPENED, self.id]
        return self

    def items(self, count):
        frames = [self.worker.receive() for _ in range(count)]
        assert [frame[:2] for frame in frames] == [[ITEM, self.id]] * count, frames
        return [frame[2] for frame in frames]

    def ask(self, count):
        self.worker.send([4, self.id, count])

    def close(self):
        self.worker.send([5, self.id])

    def end(self):
        frame = self.worker.receive()
        assert frame[1] == self.id and frame[0] in (RESULT, ERROR), frame
        return tuple(frame[2:])

    def failure(self):
        kind, type_, _, message, *_ = self.end()
        assert kind == "python"
        return type_, message

    def silent(self):
        """Nothing comes of itself. The answer to a PING would be behind what came."""
        return select.select([self.worker.sock], [], [], 0.05)[0] == []


def test_the_items_come_in_order_and_then_the_end(worker):
    stream = Stream(worker, "numbers", 5).opened()
    assert stream.items(5) == [0, 1, 2, 3, 4] and stream.end() == (None,)
    assert worker.value("echo", 1) == 1


def test_an_empty_stream_is_opened_and_ends(worker):
    assert Stream(worker, "numbers", 0).opened().end() == (None,)


@pytest.mark.parametrize(
    "function, args, items",
    [
        ("given", ([1, 2],), [1, 2]),
        ("given", ((1, 2),), [1, 2]),
        ("given", ("ab",), ["a", "b"]),
        ("given", (b"ab",), [97, 98]),
        ("given", ({"k": 1, "l": 2},), ["k", "l"]),
        ("an_iterator", (), [1, 2, 3]),
        ("an_iterable", (), ["a", "b"]),
        ("awaited_generator", (3,), [0, 1, 2]),
        ("async_numbers", (3,), [0, 1, 2]),
        ("awaited_async_generator", (3,), [0, 1, 2]),
    ],
)
def test_whatever_python_iterates_over_is_a_stream(worker, function, args, items):
    stream = Stream(worker, function, *args).opened()
    assert stream.items(len(items)) == items and stream.end() == (None,)


@pytest.mark.parametrize("function", ["watched", "async_watched"])
def test_the_generator_is_never_resumed_beyond_what_was_asked_for(worker, function):
    stream = Stream(worker, function, 100, credit=2).opened()
    assert stream.items(2) == [0, 1]
    assert stream.silent() and worker.read(worker.out) == b"0\n1\n"
    stream.ask(1)
    stream.ask(2)
    assert stream.items(3) == [2, 3, 4]
    assert stream.silent() and worker.read(worker.out) == b"2\n3\n4\n"
    stream.close()
    assert stream.end() == (None,) and worker.read(worker.out) == b"closed\n"


@pytest.mark.parametrize("function", ["watched", "async_watched"])
def test_without_credit_it_is_opened_and_not_begun(worker, function):
    stream = Stream(worker, function, 1, credit=0).opened()
    assert stream.silent() and worker.read(worker.out) == b""
    stream.ask(2)
    assert stream.items(1) == [0] and stream.end() == (None,)


@pytest.mark.parametrize("function", ["endless", "async_watched"])
def test_a_close_with_credit_left_is_heard_between_two_items(worker, function):
    stream = Stream(worker, function, *([10**9] if function != "endless" else []), credit=10**9).opened()
    stream.items(1)
    stream.close()
    printed = b""
    while (frame := worker.receive())[0] == ITEM:
        printed += worker.read(worker.out)
    assert frame == [RESULT, stream.id, None]
    assert (printed + worker.read(worker.out)).endswith(b"closed\n")


@pytest.mark.parametrize("function, heard", [("asks", b"GeneratorExit\n"), ("async_asks", b"CancelledError\n")])
def test_a_close_ends_a_call_back_that_the_generator_waits_for(worker, function, heard):
    for _ in range(20):
        stream = Stream(worker, function, PID).opened()
        stream.items(1)
        asked = worker.receive()
        assert asked[0] == CALLBACK and asked[3] == "call"
        stream.close()
        assert worker.receive()[:4] == [CALLBACK, asked[1], stream.id, "cancel"]
        assert stream.end() == (None,) and worker.read(worker.out) == heard
        assert worker.value("echo", 1) == 1


def test_what_is_asked_after_the_close_is_waited_for(worker):
    stream = Stream(worker, "asks_and_goes_on", PID).opened()
    stream.items(1)
    worker.receive()
    stream.close()
    assert worker.receive()[3] == "cancel"
    last = worker.receive()
    assert (last[3], last[5]) == ("call", "last words") and stream.silent()
    worker.send([7, last[1], "ok", None])
    assert stream.end() == (None,) and worker.read(worker.out) == b"told\n"


def test_a_close_cancels_what_an_async_generator_awaits(worker):
    for _ in range(20):
        stream = Stream(worker, "async_sleeps").opened()
        stream.items(1)
        assert worker.read_line(worker.out) == b"begun\n"
        stream.close()
        assert stream.end() == (None,) and worker.read(worker.out) == b"cancelled\nclosed\n"
        assert worker.value("echo", 1) == 1


def test_an_ask_that_another_thread_reads_is_heard(worker):
    stream = Stream(worker, "beside_a_thread", PID, 300, credit=1).opened()
    assert {worker.receive()[0] for _ in range(2)} == {CALLBACK, ITEM}
    for i in range(1, 300):
        stream.ask(1)
        assert stream.items(1) == [i]
    stream.ask(1)
    assert stream.end() == (None,)


def test_late_asks_and_closes_are_ignored(worker):
    stream = Stream(worker, "numbers", 1).opened()
    stream.items(1), stream.end()
    stream.close()
    stream.ask(3)
    assert worker.value("echo", 1) == 1
    plain = worker.cast("krait_faults", "slow", 0.05)
    worker.send([5, plain])
    worker.send([4, plain, 3])
    assert worker.answer(plain) == ("ok", None)


@pytest.mark.parametrize("function", ["fails_after", "async_fails"])
def test_an_exception_of_the_generator_ends_it(worker, function):
    stream = Stream(worker, function, *([1] if function == "fails_after" else [])).opened()
    stream.items(1)
    kind, type_, module, message, traceback, args, frames = stream.end()
    assert (kind, type_, message, args) == ("python", "ValueError", "enough", ["enough"])
    assert function in traceback and "asyncio" not in traceback and frames[0][:2] == ["krait_streams", function]


def test_an_exception_before_the_first_item_may_come_unopened(worker):
    assert Stream(worker, "raises_at_once").failure() == ("ValueError", "no stream")


@pytest.mark.parametrize(
    "function, args, message",
    [
        ("given", (1,), "a stream needs something to iterate over, and the function returned int"),
        ("given", (None,), "a stream needs something to iterate over, and the function returned NoneType"),
        ("a_broken_iterable", (), "not today"),
    ],
)
def test_what_cannot_be_iterated_over_is_a_typeerror_that_says_so(worker, function, args, message):
    assert Stream(worker, function, *args).failure() == ("TypeError", message)
    assert worker.value("echo", 1) == 1


def test_a_function_that_is_not_there_has_no_stream(worker):
    assert Stream(worker, "no_such").end() == ("no_function",)
    assert Stream(worker, "_private").end() == ("not_allowed",)


def test_an_item_without_a_term_ends_the_stream_and_closes_the_generator(worker):
    stream = Stream(worker, "has_no_term", 2).opened()
    assert stream.items(2) == [0, 1]
    assert stream.end() == ("unencodable", "item.a[0]", "object")
    assert worker.read(worker.out) == b"closed\n"
    assert Stream(worker, "closable").opened().end() == ("unencodable", "item", "object")
    assert worker.read(worker.out) == b"closed\n"
    stream = Stream(worker, "async_no_term").opened()
    assert stream.end() == ("unencodable", "item", "object") and worker.read(worker.out) == b"closed\n"


def test_an_item_over_the_limit_ends_the_stream():
    with Worker(max_result_bytes=1000) as worker:
        stream = Stream(worker, "endless", 2000).opened()
        assert stream.end() == ("too_large", 2003, 1000)


def test_a_close_that_raises_is_an_error_and_told_on_stderr(worker):
    stream = Stream(worker, "raises_in_finally", credit=1).opened()
    stream.items(1)
    stream.close()
    assert stream.failure() == ("OSError", "cannot close")
    assert b"OSError: cannot close" in worker.read(worker.err)


@pytest.mark.parametrize(
    "function, words",
    [("ignores_close", "generator ignored GeneratorExit"), ("async_ignores_close", "async generator ignored GeneratorExit")],
)
def test_a_generator_that_ignores_its_close_is_an_error(worker, function, words):
    stream = Stream(worker, function, credit=1).opened()
    stream.items(1)
    stream.close()
    assert stream.failure() == ("RuntimeError", words)
    assert words.encode() in worker.read(worker.err)
    assert worker.value("echo", 1) == 1


def interrupt(worker, call_id):
    """As the node does: the frame, then the signal."""
    worker.send([3, call_id])
    os.kill(worker.pid, signal.SIGINT)


def test_an_interrupt_hits_the_generator_that_runs(worker):
    stream = Stream(worker, "hangs_after", 1).opened()
    stream.items(1)
    assert worker.read_line(worker.out) == b"begun\n"
    interrupt(worker, stream.id)
    assert stream.failure()[0] == "KeyboardInterrupt"
    assert worker.read_line(worker.out) == b"closed\n"
    assert worker.value("echo", 1) == 1


@pytest.mark.parametrize("function", ["watched", "async_watched"])
@pytest.mark.parametrize("only", ["both", "frame", "signal"])
def test_an_interrupt_without_credit_closes_the_generator(worker, function, only):
    for _ in range(20):
        stream = Stream(worker, function, 100, credit=1).opened()
        stream.items(1)
        if only != "signal":
            worker.send([3, stream.id])
        if only == "signal":
            assert stream.silent()  # one that comes before it waits is early
        if only != "frame":
            os.kill(worker.pid, signal.SIGINT)
        assert stream.failure()[0] == "KeyboardInterrupt"
        assert worker.read(worker.out) == b"0\nclosed\n"
        assert worker.value("echo", 1) == 1
        if only == "signal":
            break


def test_an_interrupt_whose_frame_is_read_between_two_items_ends_the_stream(worker):
    stream = Stream(worker, "endless", credit=10**9).opened()
    stream.items(1)
    worker.send([3, stream.id])
    while (frame := worker.receive())[0] == ITEM:
        pass
    assert frame[:4] == [ERROR, stream.id, "python", "KeyboardInterrupt"]
    assert worker.read(worker.out) == b"closed\n"
    os.kill(worker.pid, signal.SIGINT)
    assert worker.value("echo", 1) == 1


def test_a_generator_that_survives_an_interrupt_goes_on(worker):
    stream = Stream(worker, "swallows_interrupt").opened()
    worker.read_line(worker.out)
    interrupt(worker, stream.id)
    assert stream.items(1) == ["survived"] and stream.end() == (None,)


def test_an_interrupt_cancels_what_an_async_generator_awaits(worker):
    stream = Stream(worker, "async_sleeps").opened()
    stream.items(1)
    assert worker.read_line(worker.out) == b"begun\n"
    while not select.select([worker.out], [], [], 0.01)[0]:  # it may not await yet
        os.kill(worker.pid, signal.SIGINT)
    assert stream.failure()[0] == "KeyboardInterrupt"
    assert worker.read_line(worker.out) in (b"cancelled\n", b"closed\n")
    assert Stream(worker, "async_numbers", 1).opened().items(1) == [0]


def test_a_generator_knows_its_call_and_session(worker):
    stream = Stream(worker, "about_itself", session=[7, "s"]).opened()
    assert stream.items(2) == [[stream.id, "about_itself", "s"]] * 2
    assert stream.end() == (None,)
    assert worker.value("current") is not None


def test_the_end_of_the_channel_closes_the_generator(worker):
    stream = Stream(worker, "watched", 5, credit=1).opened()
    stream.items(1)
    assert worker.stop() in (_exits.EXIT_OK, _exits.EXIT_CHANNEL_LOST)
    assert worker.read(worker.out) == b"0\nclosed\n"


@pytest.mark.parametrize("frame", [[4, 1], [4, 1, "x"], [4, 1, -1], [1, 1, "m", "f", [], {}, {"stream": -1}], [1, 1, "m", "f", [], {}, {"stream": "x"}]], ids=repr)
def test_malformed_asks_are_no_frames(worker, frame):
    worker.send(frame)
    assert worker.wait() == _exits.EXIT_BAD_FRAME


def test_a_million_bytes_at_a_time_take_no_more_memory(worker):
    stream = Stream(worker, "endless", 1_000_000, credit=50).opened()
    stream.items(50)
    stream.close()
    stream.end()
    before = worker.call("krait_streams", "peak_rss")[1]
    stream = Stream(worker, "endless", 1_000_000, credit=16).opened()
    for _ in range(500):
        stream.items(1)
        stream.ask(1)
    stream.close()
    while worker.receive()[0] == ITEM:
        pass
    assert worker.call("krait_streams", "peak_rss")[1] - before < 8_000_000


def test_an_item_costs_little(worker):
    count = 20_000
    began = time.monotonic()
    stream = Stream(worker, "numbers", count, credit=count + 1).opened()  # the end takes one more
    for expected in itertools.islice(itertools.count(), count):
        assert worker.receive()[2] == expected
    assert stream.end() == (None,)
    assert time.monotonic() - began < 10
