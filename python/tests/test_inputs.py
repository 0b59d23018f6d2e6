"""Input streams: a process of the caller's whose items a worker asks for."""

from __future__ import annotations

import pytest
from scripted_node import INPUT, PID, M, failure, items

from krait._terms import Atom

pytestmark = pytest.mark.usefixtures("inputs")

@pytest.mark.parametrize("function", ["input_items", "input_async"])
def test_an_input_asks_its_process_for_items(wire, function):
    call_id = wire.cast(function, INPUT)
    for answer in (items(1, 2), items((3,))):
        id_, to, request, timeout = wire.asked(call_id)
        assert (to, request, timeout) == (PID, ("krait_input", "next", 16), None)
        wire.reply(id_, answer)
    wire.reply(wire.asked(call_id)[0], Atom("done"))
    assert wire.answered(call_id) == ("ok", [1, 2, (3,)])


def test_an_input_asks_for_as_many_as_it_is_told_to(wire):
    call_id = wire.cast("input_items", INPUT, 3)
    id_, _, request, _ = wire.asked(call_id)
    assert request[2] == 3
    wire.reply(id_, Atom("done"))
    assert wire.answered(call_id) == ("ok", [])


def test_an_input_stays_at_its_end(wire):
    call_id = wire.cast("input_twice", INPUT)
    wire.reply(wire.asked(call_id)[0], Atom("done"))
    assert wire.answered(call_id) == ("ok", [[], []])


def test_an_input_is_its_process(wire):
    assert wire.worker.call(M, "input_pid", INPUT) == ("ok", [PID, True])
    assert wire.worker.call("krait", "identity", INPUT) == ("error", "unencodable", "result", "krait.Input")


@pytest.mark.parametrize("function", ["input_items", "input_async"])
@pytest.mark.parametrize(
    "how, value, type_, words",
    [
        ("ok", (Atom("error"), Atom("broken")), "Exit", "broken"),
        ("exit", Atom("noproc"), "Exit", "noproc"),
        ("ok", Atom("what"), "TypeError", "answered krait.Atom('what')"),
        ("ok", items(), "TypeError", "1 to 16"),
        ("ok", items(*range(17)), "TypeError", "1 to 16"),
        ("ok", Atom("error"), "TypeError", "answered"),
        ("ok", Atom("items"), "TypeError", "answered"),
        ("ok", (Atom("done"), 1), "TypeError", "answered"),
    ],
    ids=repr,
)
def test_an_input_that_fails_says_how(wire, function, how, value, type_, words):
    call_id = wire.cast(function, INPUT)
    wire.reply(wire.asked(call_id)[0], value, how)
    got, message = failure(wire.answered(call_id))
    assert got == type_ and words in message


def test_an_input_in_a_coroutine_is_iterated_over_asynchronously(wire):
    type_, message = failure(wire.worker.call(M, "input_plainly", INPUT))
    assert type_ == "TypeError" and "async for" in message


def test_a_stream_may_call_back_between_its_items(wire):
    worker = wire.worker
    stream = worker.cast(M, "input_doubled", INPUT, meta={"stream": 9})
    assert worker.receive() == [5, stream]
    wire.reply(wire.asked(stream)[0], items(1, 2))
    assert [worker.receive()[2] for _ in range(2)] == [2, 4]
    id_ = wire.asked(stream)[0]
    worker.send([5, stream])
    wire.reply(id_, items(3))
    frames = [worker.receive()]
    while frames[-1][0] == 6:
        frames.append(worker.receive())
    assert frames[-1] == [2, stream, None]
