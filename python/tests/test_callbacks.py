"""Calls back: what a worker asks of the cluster while it runs a call."""

from __future__ import annotations

import os
import select
import signal

import pytest
from support import Worker

import krait
from krait import _exits
from krait._seat import Seat
from krait._terms import Atom, Pid

M = "krait_callbacks"
PID = Pid(b"X\x77\x06krait@\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03")


@pytest.fixture
def wire(worker):
    return Node(worker)


class Node:
    """The node as a script: it expects frames and answers them."""

    def __init__(self, worker):
        self.worker = worker

    def cast(self, function, *args, meta=None, module=M):
        return self.worker.cast(module, function, *args, meta=meta)

    def asked(self, call_id, kind="call"):
        """A CALLBACK of that call: (its id, dest, value, timeout)."""
        frame = self.worker.receive()
        assert frame is not None, self.worker.read(self.worker.err)
        assert frame[0] == 7 and frame[2] == call_id and frame[3] == kind, frame
        return frame[1], frame[4], frame[5], frame[6]

    def reply(self, callback_id, value, how="ok"):
        self.worker.send([7, callback_id, how, value])

    def down(self, monitor_id, reason):
        self.worker.send([9, monitor_id, reason])

    def answered(self, call_id):
        return self.worker.answer(call_id)

    def interrupt(self, call_id):
        self.worker.send([3, call_id])
        os.kill(self.worker.pid, signal.SIGINT)

    def alive(self):
        assert self.worker.value("echo", 1) == 1


def failure(answer):
    assert answer[:2] == ("error", "python"), answer
    return answer[2], answer[4]


# What goes out, and what comes of it


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


# Calls within calls


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


@pytest.mark.parametrize("wait", ["krait_streams"])
def test_a_stream_may_call_back_between_its_items(wire, wait):
    worker = wire.worker
    stream = worker.cast(M, "input_doubled", INPUT, meta={"stream": 9})
    assert worker.receive() == [5, stream]
    wire.reply(wire.asked(stream)[0], (Atom("items"), [1, 2]))
    assert [worker.receive()[2] for _ in range(2)] == [2, 4]
    id_ = wire.asked(stream)[0]
    worker.send([5, stream])
    wire.reply(id_, (Atom("items"), [3]))
    frames = [worker.receive()]
    while frames[-1][0] == 6:
        frames.append(worker.receive())
    assert frames[-1] == [2, stream, None]


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


# Input streams


class Raw:
    """An extension that only the node sends."""

    def __init__(self, code, data):
        import msgpack

        self.ext = msgpack.ExtType(code, data)


INPUT = Raw(11, PID.data)


@pytest.fixture(autouse=True)
def inputs(monkeypatch):
    """The scripted node can send them."""
    import msgpack
    from krait import _codec

    plain = _codec.Encoder.encode

    def encode(self, value, root="result"):
        def replaced(part):
            if isinstance(part, Raw):
                return part.ext
            if type(part) is list:
                return [replaced(element) for element in part]
            return part

        if type(value) is list and INPUT in (value[4] if len(value) == 7 and type(value[4]) is list else []):
            return msgpack.packb(replaced(value))
        return plain(self, value, root)

    monkeypatch.setattr(_codec.Encoder, "encode", encode)


def items(*values):
    return (Atom("items"), list(values))


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
    assert wire.worker.call("krait", "identity", INPUT) == ("error", "unencodable", "result", "krait._input.Input")


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
