"""Calls back: what a worker asks of the cluster while it runs a call."""

from __future__ import annotations

import os
import select
import signal

import pytest
from scripted_node import PID, M, failure

import krait
from krait import _exits
from krait._terms import Atom

@pytest.mark.parametrize(
    "dest, sent",
    [
        (PID, PID),
        ("server", "server"),
        (Atom("server"), Atom("server")),
        ((Atom("server"), "n@h"), ["server", "n@h"]),
        (["server", Atom("n@h")], ["server", "n@h"]),
    ],
    ids=repr,
)
def test_a_call_is_sent_and_its_answer_returned(wire, dest, sent):
    call_id = wire.cast("call", dest, (Atom("get"), 1))
    id_, to, request, timeout = wire.asked(call_id)
    assert (to, type(to), request, timeout) == (sent, type(sent), ("get", 1), 5000)
    wire.reply(id_, {"a": (1,)})
    assert wire.answered(call_id) == ("ok", {"a": (1,)})


@pytest.mark.parametrize("timeout, sent", [(None, None), (0, 0), (0.0001, 1), (2, 2000), (1e300, 2**32 - 1)])
def test_the_timeout_is_in_seconds(wire, timeout, sent):
    call_id = wire.cast("call", "server", 1, timeout)
    id_, *_, asked = wire.asked(call_id)
    assert asked == sent
    wire.reply(id_, 2)
    assert wire.answered(call_id) == ("ok", 2)


@pytest.mark.parametrize("function", ["caught", "async_caught"])
def test_an_exit_and_a_timeout_are_exceptions(wire, function):
    for how, value, told in (("exit", (Atom("noproc"), 1), ["exit", ("noproc", 1)]), ("timeout", None, ["timeout"])):
        call_id = wire.cast(function, "server")
        wire.reply(wire.asked(call_id)[0], value, how)
        assert wire.answered(call_id)[1][: len(told)] == told
    call_id = wire.cast(function, "server")
    wire.reply(wire.asked(call_id)[0], "no such name", "refused")
    assert failure(wire.answered(call_id)) == ("RuntimeError", "no such name")


def test_the_ids_are_never_reused(wire):
    call_id = wire.cast("call_twice", "server")
    first = wire.asked(call_id)[0]
    wire.reply(first, "a")
    second = wire.asked(call_id)[0]
    wire.reply(second, "b")
    assert second > first > 0 and wire.answered(call_id) == ("ok", ["a", "b"])


def test_a_message_is_sent_and_nothing_waited_for(wire):
    call_id = wire.cast("send", PID, "hello")
    assert wire.asked(call_id, "send") == (0, PID, "hello", None)
    assert wire.answered(call_id) == ("ok", None)


def test_a_function_on_a_node_is_asked_for(wire):
    call_id = wire.cast("rpc", "Elixir.Enum", "sum", [[1, 2]])
    id_, to, value, timeout = wire.asked(call_id, "rpc")
    assert (to, value, timeout) == (None, ["Elixir.Enum", "sum", [[1, 2]]], 5000)
    assert type(value[0]) is type(value[1]) is Atom
    wire.reply(id_, 3)
    assert wire.answered(call_id) == ("ok", 3)
    call_id = wire.cast("rpc", "m", "f", (1,), None, "n@h")
    id_, to, value, timeout = wire.asked(call_id, "rpc")
    assert (to, type(to), value, timeout) == ("n@h", Atom, ["m", "f", [1]], None)
    wire.reply(id_, 3)
    wire.answered(call_id)


@pytest.mark.parametrize(
    "args, error, words",
    [
        ((1, 2), "TypeError", "got 1"),
        (((1, 2), 2), "TypeError", "(name, node)"),
        ((("a", "b", "c"), 2), "TypeError", "(name, node)"),
        (("s", 1, "soon"), "TypeError", "got 'soon'"),
        (("s", 1, True), "TypeError", "got True"),
        (("s", 1, -1), "ValueError", "got -1"),
        (("s", 1, float("nan")), "ValueError", "got nan"),
    ],
    ids=repr,
)
def test_wrong_arguments_are_told_at_once(wire, args, error, words):
    kind, (type_, message) = wire.worker.call(M, "wrong", *args)
    assert (kind, type_) == ("ok", error) and words in message


@pytest.mark.parametrize("args", [(1, "f"), ("m", 1), ("m", "f", "x"), ("m", "f", [], 1, 5)], ids=repr)
def test_wrong_arguments_of_rpc_are_told_at_once(wire, args):
    assert failure(wire.worker.call(M, "rpc", *args))[0] == "TypeError"


def test_a_request_without_a_term_is_the_callers_error(wire):
    type_, message = failure(wire.worker.call(M, "call_object"))
    assert (type_, message) == ("EncodeError", "unencodable: request.a, object")
    wire.alive()


def test_outside_of_a_call_nothing_can_be_asked(wire):
    with pytest.raises(RuntimeError, match="none does"):
        krait.call("server", 1)
    krait.progress(1)
    wire.worker.call(M, "late_thread")
    assert b"none does" in wire.worker.read_line(wire.worker.out)


def test_a_late_reply_is_dropped(wire):
    wire.reply(77, "late")
    wire.down(78, "late")
    call_id = wire.cast("call", "server", 1)
    id_ = wire.asked(call_id)[0]
    wire.reply(id_ + 1, "another's")
    wire.reply(id_, "own")
    wire.reply(id_, "twice")
    assert wire.answered(call_id) == ("ok", "own")
    wire.alive()


def test_a_malformed_reply_is_no_frame(wire):
    wire.cast("call", "server", 1)
    wire.worker.receive()
    wire.reply(1, "x", "perhaps")
    assert wire.worker.wait() == _exits.EXIT_BAD_FRAME


def test_the_end_of_the_channel_ends_the_wait(wire):
    call_id = wire.cast("call", "server", 1, None)
    wire.asked(call_id)
    assert wire.worker.stop() in (_exits.EXIT_OK, _exits.EXIT_CHANNEL_LOST)


# Progress


def test_progress_is_told_to_who_asked_for_it(wire):
    call_id = wire.cast("progress", 1, (Atom("at"), 0.5), meta={"progress": True})
    assert wire.worker.receive() == [8, call_id, 1]
    assert wire.worker.receive() == [8, call_id, ("at", 0.5)]
    assert wire.answered(call_id) == ("ok", "done")


def test_progress_that_nobody_asked_for_is_not_looked_at(wire):
    for meta in (None, {"progress": False}, {"deadline_ms": 1000}):
        assert wire.worker.call(M, "progress_object", meta=meta) == ("ok", "silent")


def test_progress_without_a_term_is_the_callers_error(wire):
    answer = wire.worker.call(M, "progress_object", meta={"progress": True})
    assert answer == ("ok", ["unencodable", "progress.a", "object"])


# Monitors


def test_a_monitor_waits_for_the_end_of_a_process(wire):
    call_id = wire.cast("watch", PID)
    id_, to, value, _ = wire.asked(call_id, "monitor")
    assert (to, value) == (PID, None)
    wire.down(id_, (Atom("shutdown"), 1))
    reason = ("shutdown", 1)
    assert wire.answered(call_id) == ("ok", [reason, True, reason, reason])


def test_a_reason_may_be_nil(wire):
    call_id = wire.cast("poll_down", PID)
    wire.down(wire.asked(call_id, "monitor")[0], None)
    assert wire.answered(call_id) == ("ok", None)


def test_a_monitors_wait_has_a_timeout_of_its_own(wire):
    call_id = wire.cast("watch_a_little", PID)
    wire.asked(call_id, "monitor")
    assert wire.answered(call_id) == ("ok", [False, None])


def test_a_monitor_can_be_cancelled(wire):
    call_id = wire.cast("unwatch", PID)
    id_ = wire.asked(call_id, "monitor")[0]
    assert wire.asked(call_id, "demonitor") == (id_, None, None, None)
    assert wire.answered(call_id) == ("ok", ["the monitor was cancelled", False])


def test_a_monitor_ends_with_its_call(wire):
    call_id = wire.cast("keep_monitor", PID)
    id_ = wire.asked(call_id, "monitor")[0]
    assert wire.answered(call_id) == ("ok", None)
    wire.down(id_, "late")
    kind, (words, down) = wire.worker.call(M, "kept_monitor")
    assert "has ended" in words and down is False


def test_a_coroutine_awaits_a_monitor(wire):
    call_id = wire.cast("async_watch", PID)
    id_ = wire.asked(call_id, "monitor")[0]
    assert not select.select([wire.worker.sock], [], [], 0.05)[0]
    wire.down(id_, "gone")
    assert wire.answered(call_id) == ("ok", ["gone", True])


# Coroutines


def test_a_coroutine_awaits_its_answer(wire):
    call_id = wire.cast("async_call", PID, "x")
    wire.reply(wire.asked(call_id)[0], "y")
    assert wire.answered(call_id) == ("ok", "y")


@pytest.mark.parametrize("function", ["gathered", "own_loop"])
def test_several_answers_are_awaited_at_a_time_and_come_in_any_order(wire, function):
    for _ in range(3):
        call_id = wire.cast(function, PID, *([2] if function == "gathered" else []))
        first, second = wire.asked(call_id), wire.asked(call_id)
        assert (first[2], second[2]) == (0, 1)
        wire.reply(second[0], "second")
        wire.reply(first[0], "first")
        assert wire.answered(call_id) == ("ok", ["first", "second"])


def test_a_coroutine_that_gives_up_says_so(wire):
    call_id = wire.cast("impatient", PID)
    id_ = wire.asked(call_id)[0]
    assert wire.asked(call_id, "cancel")[0] == id_
    again = wire.asked(call_id)
    assert again[2] == "again"
    wire.reply(id_, "late")
    wire.reply(again[0], "in time")
    assert wire.answered(call_id) == ("ok", "in time")


def test_what_a_call_leaves_waiting_ends_with_it(wire):
    call_id = wire.cast("ends_before", PID)
    id_ = wire.asked(call_id)[0]
    assert wire.answered(call_id) == ("ok", "done")
    wire.reply(id_, "late")
    kind, (words,) = wire.worker.call(M, "what_was_left")
    assert "has ended" in words


# Interrupts


@pytest.mark.parametrize("function", ["call", "async_call"])
def test_an_interrupt_ends_the_wait_and_tells_the_node(wire, function):
    for _ in range(20):
        call_id = wire.cast(function, PID, "x")
        id_ = wire.asked(call_id)[0]
        wire.interrupt(call_id)
        assert wire.asked(call_id, "cancel")[0] == id_
        assert failure(wire.answered(call_id))[0] == "KeyboardInterrupt"
        wire.alive()


def test_an_interrupt_read_before_its_signal_is_raised_once(wire):
    for _ in range(10):
        call_id = wire.cast("survives", PID)
        id_ = wire.asked(call_id)[0]
        wire.worker.send([3, call_id])
        assert wire.asked(call_id, "cancel")[0] == id_
        second = wire.asked(call_id)
        os.kill(wire.worker.pid, signal.SIGINT)
        wire.reply(second[0], "on")
        assert wire.answered(call_id) == ("ok", ["interrupted", "on"])


def test_a_signal_heard_before_its_frame_is_read_is_raised_once(wire):
    for _ in range(10):
        call_id = wire.cast("survives", PID)
        id_ = wire.asked(call_id)[0]
        os.kill(wire.worker.pid, signal.SIGINT)
        assert wire.asked(call_id, "cancel")[0] == id_
        second = wire.asked(call_id)
        wire.worker.send([3, call_id])
        wire.reply(second[0], "on")
        assert wire.answered(call_id) == ("ok", ["interrupted", "on"])


def test_both_at_once_are_raised_once(wire):
    for _ in range(30):
        call_id = wire.cast("survives", PID)
        id_ = wire.asked(call_id)[0]
        wire.interrupt(call_id)
        assert wire.asked(call_id, "cancel")[0] == id_
        second = wire.asked(call_id)
        wire.reply(second[0], "on")
        assert wire.answered(call_id) == ("ok", ["interrupted", "on"])
        wire.alive()


def test_an_interrupt_after_the_wait_hits_what_runs_then(wire):
    call_id = wire.cast("call_then_hang", PID)
    wire.reply(wire.asked(call_id)[0], 1)
    wire.worker.read_line(wire.worker.out)
    wire.interrupt(call_id)
    assert failure(wire.answered(call_id))[0] == "KeyboardInterrupt"
    wire.alive()
