"""Calls within calls, and threads that wait: who waits for an answer runs what comes meanwhile."""

from __future__ import annotations

import os
import signal

import pytest
from scripted_node import PID, M, Node, failure
from support import Worker

import krait
from krait._seat import Seat

@pytest.mark.parametrize("outer", ["call", "async_call"])
@pytest.mark.parametrize("inner", ["about_itself", "async_about_itself"])
def test_a_call_that_comes_meanwhile_is_run_within(wire, outer, inner):
    call_id = wire.cast(outer, PID, "x")
    id_ = wire.asked(call_id)[0]
    within = wire.cast(inner, meta={"deadline_ms": 1000})
    assert wire.answered(within) == ("ok", [within, within, inner])
    wire.worker.send([2, 1000])
    assert wire.worker.receive() == [4, 1000]
    wire.reply(id_, "y")
    assert wire.answered(call_id) == ("ok", "y")
    wire.alive()


@pytest.mark.parametrize("outer", ["about_itself", "async_about_itself"])
@pytest.mark.parametrize("inner", ["about_itself", "async_about_itself"])
def test_each_knows_itself_and_asks_on_its_own_behalf(wire, outer, inner):
    call_id = wire.cast(outer, PID)
    first = wire.asked(call_id)[0]
    within = wire.cast(inner, PID)
    second = wire.asked(within)[0]
    wire.reply(second, 2)
    assert wire.answered(within) == ("ok", [within, within, inner])
    wire.reply(first, 1)
    assert wire.answered(call_id) == ("ok", [call_id, call_id, outer])


@pytest.mark.parametrize("outer, inner", [("async_about_itself", "async_about_itself")])
def test_coroutines_within_one_another_go_on_in_any_order(wire, outer, inner):
    call_id = wire.cast(outer, PID)
    first = wire.asked(call_id)[0]
    within = wire.cast(inner, PID)
    second = wire.asked(within)[0]
    wire.reply(first, 1)
    assert wire.answered(call_id) == ("ok", [call_id, call_id, outer])
    wire.reply(second, 2)
    assert wire.answered(within) == ("ok", [within, within, inner])
    wire.alive()


def test_plain_code_within_a_coroutine_keeps_it_waiting(wire):
    call_id = wire.cast("async_about_itself", PID)
    first = wire.asked(call_id)[0]
    within = wire.cast("about_itself", PID)
    second = wire.asked(within)[0]
    wire.reply(first, 1)
    deepest = wire.cast("async_about_itself", PID)
    third = wire.asked(deepest)[0]
    wire.reply(third, 3)
    assert wire.answered(deepest)[0] == "ok"
    wire.reply(second, 2)
    assert wire.answered(within) == ("ok", [within, within, "about_itself"])
    assert wire.answered(call_id) == ("ok", [call_id, call_id, "async_about_itself"])


@pytest.mark.parametrize("function", ["session_after_call", "async_session"])
def test_sessions_are_each_their_own(wire, function):
    a, b = {"session": [1, "a"]}, {"session": [2, "b"]}
    call_id = wire.cast(function, PID, meta=a)
    first = wire.asked(call_id)[0]
    other = wire.cast(function, PID, meta=b)
    second = wire.asked(other)[0]
    same = wire.cast(function, PID, meta=a)
    third = wire.asked(same)[0]
    wire.reply(third, 3)
    assert wire.answered(same) == ("ok", ["a", 2])
    wire.reply(second, 2)
    assert wire.answered(other) == ("ok", ["b", 1])
    wire.reply(first, 1)
    assert wire.answered(call_id) == ("ok", ["a", 2 if function == "session_after_call" else 2])


def test_within_a_call_a_batch_a_stream_and_an_end_of_session_may_come(wire):
    worker = wire.worker
    call_id = wire.cast("call", PID, "x")
    id_ = wire.asked(call_id)[0]
    worker.send([6, 900, [["krait_faults", "echo", [1], {}], ["krait_async", "echo", [2], {}]], {"session": [5, "s"]}])
    assert worker.receive() == [2, 900, [[True, 1], [True, 2]]]
    worker.send([8, 901, 5])
    assert worker.receive() == [4, 901]
    for function in ("numbers", "async_numbers"):
        stream = worker.cast("krait_streams", function, 2, meta={"stream": 1})
        assert [worker.receive() for _ in range(2)] == [[5, stream], [6, stream, 0]]
        worker.send([4, stream, 2])
        assert [worker.receive() for _ in range(2)] == [[6, stream, 1], [2, stream, None]]
    wire.reply(id_, "y")
    assert wire.answered(call_id) == ("ok", "y")


def test_calls_within_calls_are_so_deep_and_no_deeper(wire):
    stack = []
    for depth in range(17):  # the outermost, and 16 within
        call_id = wire.cast("recurse", depth)
        stack.append((call_id, wire.asked(call_id)[0]))
    refused = wire.cast("recurse", 17)
    type_, message = failure(wire.answered(refused))
    assert type_ == "RecursionError" and "16" in message
    for call_id, id_ in reversed(stack):
        wire.reply(id_, "up")
        assert wire.answered(call_id) == ("ok", "up")
    wire.alive()


@pytest.mark.parametrize("outer", ["call", "async_call"])
def test_an_interrupt_of_the_inner_call_is_the_inner_calls(wire, outer):
    for _ in range(5):
        call_id = wire.cast(outer, PID, "x")
        id_ = wire.asked(call_id)[0]
        within = wire.cast("hang")
        wire.worker.read_line(wire.worker.out)
        wire.interrupt(within)
        assert failure(wire.answered(within))[0] == "KeyboardInterrupt"
        wire.reply(id_, "y")
        assert wire.answered(call_id) == ("ok", "y")


@pytest.mark.parametrize("outer", ["call", "async_call"])
@pytest.mark.parametrize("inner", ["call", "async_call"])
def test_an_interrupt_of_either_waiting_call_is_that_calls(wire, outer, inner):
    for _ in range(5):
        call_id = wire.cast(outer, PID, "x")
        id_ = wire.asked(call_id)[0]
        within = wire.cast(inner, PID, "z")
        inner_id = wire.asked(within)[0]
        wire.interrupt(within)
        assert wire.asked(within, "cancel")[0] == inner_id
        assert failure(wire.answered(within))[0] == "KeyboardInterrupt"
        wire.reply(id_, "y")
        assert wire.answered(call_id) == ("ok", "y")


@pytest.mark.parametrize("outer", ["call", "async_call"])
def test_an_interrupt_of_the_outer_call_waits_until_the_inner_has_ended(wire, outer):
    for _ in range(5):
        call_id = wire.cast(outer, PID, "x")
        id_ = wire.asked(call_id)[0]
        within = wire.cast("call", PID, "z")
        inner_id = wire.asked(within)[0]
        wire.interrupt(call_id)
        wire.reply(inner_id, "w")
        assert wire.answered(within) == ("ok", "w")
        assert wire.asked(call_id, "cancel")[0] == id_
        assert failure(wire.answered(call_id))[0] == "KeyboardInterrupt"
        wire.alive()


def outer_interrupted_as_inner_is_answered(wire, inner):
    call_id = wire.cast("async_call", PID, "x")
    id_ = wire.asked(call_id)[0]
    within = wire.cast(inner, PID, *(["z"] if inner == "call" else []))
    inner_id = wire.asked(within)[0]
    assert wire.worker.read_line(wire.worker.out) == b"begun\n"
    wire.worker.send([3, call_id])
    wire.reply(inner_id, "w")
    os.kill(wire.worker.pid, signal.SIGINT)
    frames = {frame[0]: frame for frame in (wire.worker.receive() for _ in range(3))}  # in any order
    assert frames[2][1:3] == [within, "w"]
    assert frames[3][1:4] == [call_id, "python", "KeyboardInterrupt"]
    assert frames[7][1:4] == [id_, call_id, "cancel"]
    wire.alive()


def test_an_answer_that_a_signal_handler_read_is_not_waited_for(monkeypatch):
    """Who hears the signal looks for its frame, and may find others: just before a poll, that would not tell."""
    poll = Seat.poll

    def late(seat, seconds):
        engine = krait._context.engine
        if engine.inner:
            print("begun", flush=True)
            while not engine.channel.pending:
                pass
        return poll(seat, seconds)

    monkeypatch.setattr(Seat, "poll", late)
    with Worker() as worker:
        outer_interrupted_as_inner_is_answered(Node(worker), "call")


def test_an_answer_that_a_signal_handler_read_is_not_awaited(wire):
    outer_interrupted_as_inner_is_answered(wire, "busy_then_awaits")


def test_an_exception_of_an_inner_call_is_its_own(wire):
    call_id = wire.cast("call", PID, "x")
    id_ = wire.asked(call_id)[0]
    for function in ("raise_", "unencodable", "no_such"):
        within = wire.cast(function, *(["SystemExit"] if function == "raise_" else []), module="krait_faults")
        assert wire.answered(within)[0] == "error"
    wire.reply(id_, "y")
    assert wire.answered(call_id) == ("ok", "y")


# Threads


def test_threads_that_wait_get_their_own_answers(wire):
    for count in (1, 5):
        call_id = wire.cast("in_threads", PID, count)
        asked = [wire.asked(call_id) for _ in range(count)]
        for id_, _, number, _ in reversed(asked):
            wire.reply(id_, -number)
        assert wire.answered(call_id) == ("ok", [-number for number in range(count)])
    wire.alive()


def test_threads_and_the_main_one_wait_together(wire):
    for _ in range(10):
        call_id = wire.cast("all_wait", PID, 4)
        asked = {value: id_ for id_, _, value, _ in (wire.asked(call_id) for _ in range(5))}
        for value in (2, "main", 0, 3, 1):
            wire.reply(asked[value], value)
        assert wire.answered(call_id) == ("ok", ["main", [0, 1, 2, 3]])
        wire.alive()


def test_a_call_within_is_run_though_only_threads_wait(wire):
    call_id = wire.cast("in_threads", PID, 2)
    asked = [wire.asked(call_id) for _ in range(2)]
    for function in ("about_itself", "async_about_itself"):
        within = wire.cast(function)
        assert wire.answered(within) == ("ok", [within, within, function])
    for id_, *_ in asked:
        wire.reply(id_, 0)
    assert wire.answered(call_id) == ("ok", [0, 0])


def test_a_thread_left_waiting_hears_that_its_call_has_ended(wire):
    call_id = wire.cast("leave_waiting", PID)
    asked = {value: id_ for id_, _, value, _ in (wire.asked(call_id) for _ in range(2))}
    wire.reply(asked["main"], 1)
    assert wire.answered(call_id) == ("ok", None)
    wire.reply(asked["left"], 1)
    kind, (type_, words) = wire.worker.call(M, "left")
    assert type_ == "RuntimeError" and "has ended" in words
    wire.alive()
