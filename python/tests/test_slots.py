"""A worker with several slots."""

from __future__ import annotations

import os
import select

import pytest
from scripted_node import INPUT, PID, items
from support import Worker

from krait import _exits
from krait._terms import Atom

M = "krait_slots"


@pytest.fixture
def worker():
    with Worker(slots=4) as worker:
        yield worker


class Inbox:
    """Frames by id, for they come in any order."""

    def __init__(self, worker):
        self.worker = worker
        self.frames = []

    def take(self, wanted):
        while True:
            for i, frame in enumerate(self.frames):
                if wanted(frame):
                    return self.frames.pop(i)
            frame = self.worker.receive()
            assert frame is not None, self.worker.read(self.worker.err)
            self.frames.append(frame)

    def answer(self, call_id):
        frame = self.take(lambda frame: frame[0] in (2, 3) and frame[1] == call_id)
        return ("ok", frame[2]) if frame[0] == 2 else ("error", *frame[2:])

    def asked(self, call_id, kind="call"):
        frame = self.take(lambda frame: frame[0] == 7 and frame[2] == call_id and frame[3] == kind)
        return frame[1], frame[5]

    def stream(self, call_id):
        return self.take(lambda frame: frame[1] == call_id and frame[0] in (2, 3, 5, 6))


@pytest.fixture
def inbox(worker):
    return Inbox(worker)


def failure(answer):
    assert answer[:2] == ("error", "python"), answer
    return answer[2]


def test_so_many_calls_run_at_a_time_and_each_knows_itself(worker, inbox):
    for round_ in range(5):
        ids = [worker.cast(M, "meet", f"m{round_}", 4, i) for i in range(4)]
        for i, call_id in enumerate(ids):
            assert inbox.answer(call_id) == ("ok", [i, call_id])


def test_threads_are_used_again(worker, inbox):
    for _ in range(20):
        assert worker.call("math", "sqrt", 4) == ("ok", 2.0)
    names = worker.call(M, "thread_names")[1]
    assert len([name for name in names if name == "krait-slot"]) <= 4


def test_plain_functions_and_coroutines_run_side_by_side(worker, inbox):
    plain, coroutine = worker.cast(M, "wait_for", "a"), worker.cast(M, "wait_async", "b")
    assert {worker.read_line(worker.out) for _ in range(2)} == {b"waiting a\n", b"waiting b\n"}
    worker.cast(M, "signal", "b")
    worker.cast(M, "signal", "a")
    assert inbox.answer(coroutine) == ("ok", "b") and inbox.answer(plain) == ("ok", "a")


def test_many_coroutines_take_no_thread_each():
    with Worker(slots=100) as worker:
        inbox = Inbox(worker)
        ids = [worker.cast(M, "wait_async", "x") for _ in range(100)]
        for _ in ids:
            worker.read_line(worker.out)
        worker.cast(M, "thread_names")
        names = inbox.take(lambda frame: frame[0] == 2)[2]
        worker.cast(M, "signal", "x")
        assert [inbox.answer(call_id) for call_id in ids] == [("ok", "x")] * 100
        assert names.count("krait-loop") == 1


def test_a_ping_is_answered_while_everything_is_busy(worker, inbox):
    ids = [worker.cast(M, "busy"), worker.cast(M, "block", "c")]
    for _ in ids:
        worker.read_line(worker.out)
    worker.send([2, 77])
    assert worker.receive() == [4, 77]
    worker.send([3, ids[0]])
    assert failure(inbox.answer(ids[0])) == "Interrupted"
    worker.cast(M, "signal", "c")
    assert inbox.answer(ids[1]) == ("ok", None)


def test_errors_and_what_has_no_term(worker, inbox):
    assert failure(worker.call("krait_faults", "raise_", "SystemExit", "x")) == "SystemExit"
    assert worker.call("krait_faults", "unencodable")[1] == "unencodable"
    assert worker.call("krait_faults", "no_such") == ("error", "no_function")
    assert failure(worker.call("krait_async", "raises")) == "ValueError"
    assert worker.call("krait_faults", "echo", b"x" * 1_000_000) == ("ok", b"x" * 1_000_000)


# Interrupts


@pytest.mark.parametrize("function", ["busy", "short_sleeps", "sleep"])
def test_an_interrupt_is_for_one_call_alone(worker, inbox, function):
    others = [worker.cast(M, "wait_for", "end"), worker.cast(M, "wait_async", "end")]
    for _ in others:
        worker.read_line(worker.out)
    for _ in range(5):
        call_id = worker.cast(M, function)
        assert worker.read_line(worker.out) == b"begun\n"
        worker.send([3, call_id])
        assert failure(inbox.answer(call_id)) == "Interrupted"
        worker.read(worker.out)
    worker.cast(M, "signal", "end")
    assert [inbox.answer(other) for other in others] == [("ok", "end")] * 2


def test_a_call_may_survive_its_interrupt(worker, inbox):
    call_id = worker.cast(M, "survives")
    worker.read_line(worker.out)
    worker.send([3, call_id])
    assert inbox.answer(call_id) == ("ok", "survived")
    call_id = worker.cast("krait_async", "stubborn")
    assert worker.read_line(worker.out) == b"begun\n"
    worker.send([3, call_id])
    assert inbox.answer(call_id) == ("ok", "survived")


def test_an_interrupt_never_hits_the_next_call(worker, inbox):
    worker.call(M, "switch_often")
    struck = 0
    for i in range(1500):
        call_id = worker.cast(M, "spin", i % 200)
        worker.send([3, call_id])
        following = worker.cast(M, "spin", 7)
        answer = inbox.answer(call_id)
        struck += answer[0] == "error"
        assert answer == ("ok", i % 200) or failure(answer) == "Interrupted"
        assert inbox.answer(following) == ("ok", 7)
    assert struck > 0
    assert worker.read(worker.err) == b""


def test_an_interrupt_of_a_coroutine_at_any_moment_is_its_own(worker, inbox):
    worker.call("krait_async", "echo", 0)  # or it may strike the import, which leaves a file to the collector
    for i in range(500):
        call_id = worker.cast("krait_async", "echo", i)
        worker.send([3, call_id])
        following = worker.cast("krait_async", "echo", 7)
        answer = inbox.answer(call_id)
        assert answer == ("ok", i) or failure(answer) == "Interrupted"
        assert inbox.answer(following) == ("ok", 7)
    assert b"Traceback" not in worker.read(worker.err)


def test_late_interrupts_are_ignored(worker, inbox):
    worker.send([3, 12345])
    assert worker.call("math", "sqrt", 4) == ("ok", 2.0)


# Streams


@pytest.mark.parametrize("function", ["watched", "async_watched"])
def test_a_stream_is_resumed_as_far_as_asked(worker, inbox, function):
    stream = worker.cast("krait_streams", function, 9, meta={"stream": 2})
    assert [inbox.stream(stream) for _ in range(3)] == [[5, stream], [6, stream, 0], [6, stream, 1]]
    assert worker.call("math", "sqrt", 4) == ("ok", 2.0)
    assert not select.select([worker.sock], [], [], 0.05)[0]
    worker.send([4, stream, 1])
    assert inbox.stream(stream) == [6, stream, 2]
    worker.send([5, stream])
    assert inbox.stream(stream) == [2, stream, None]
    assert worker.read(worker.out) == b"0\n1\n2\nclosed\n"


@pytest.mark.parametrize("function", ["awaited_generator", "awaited_async_generator"])
def test_a_coroutine_may_return_a_stream(worker, inbox, function):
    stream = worker.cast("krait_streams", function, 2, meta={"stream": 9})
    assert [inbox.stream(stream)[0] for _ in range(4)] == [5, 6, 6, 2]


def test_streams_run_side_by_side_and_no_ask_is_lost(worker, inbox):
    worker.call(M, "switch_often")
    count = 300
    names = ["numbers", "async_numbers", "awaited_generator", "numbers"]
    ids = [worker.cast("krait_streams", name, count, meta={"stream": 1}) for name in names]
    for call_id in ids:
        assert inbox.stream(call_id) == [5, call_id]
    for _ in range(count):
        for call_id in ids:
            worker.send([4, call_id, 1])
    for call_id in ids:
        assert [inbox.stream(call_id)[2] for _ in range(count)] == list(range(count))
        assert inbox.stream(call_id) == [2, call_id, None]


@pytest.mark.parametrize("function, heard", [("asks", b"GeneratorExit\n"), ("async_asks", b"CancelledError\n")])
def test_a_close_ends_a_call_back_that_the_generator_waits_for(worker, inbox, function, heard):
    for _ in range(20):
        stream = worker.cast("krait_streams", function, PID, meta={"stream": 9})
        id_, _ = inbox.asked(stream)
        worker.send([5, stream])
        assert inbox.asked(stream, "cancel")[0] == id_
        assert [inbox.stream(stream)[0] for _ in range(3)] == [5, 6, 2]
        assert worker.read(worker.out) == heard


def test_a_close_cancels_what_an_async_generator_awaits(worker, inbox):
    for _ in range(20):
        stream = worker.cast("krait_streams", "async_sleeps", meta={"stream": 9})
        assert worker.read_line(worker.out) == b"begun\n"
        worker.send([5, stream])
        assert [inbox.stream(stream)[0] for _ in range(3)] == [5, 6, 2]
        assert worker.read(worker.out) == b"cancelled\nclosed\n"


@pytest.mark.parametrize("function", ["watched", "async_watched"])
def test_an_interrupt_without_credit_closes_the_generator(worker, inbox, function):
    for _ in range(20):
        stream = worker.cast("krait_streams", function, 9, meta={"stream": 1})
        assert [inbox.stream(stream)[0] for _ in range(2)] == [5, 6]
        worker.send([3, stream])
        assert inbox.stream(stream)[3] == "Interrupted"
        assert worker.read(worker.out) == b"0\nclosed\n"


def test_an_interrupt_of_a_generator_that_a_coroutine_returned(worker, inbox):
    stream = worker.cast("krait_streams", "awaited_watched", 9, meta={"stream": 1})
    assert [inbox.stream(stream)[0] for _ in range(2)] == [5, 6]
    worker.send([3, stream])
    assert inbox.stream(stream)[3] == "Interrupted"
    assert worker.read_line(worker.out) + worker.read_line(worker.out) == b"0\nclosed\n"


# Sessions and batches


def test_a_session_starts_once_though_its_first_calls_come_together(worker, inbox):
    meta = {"session": [1, "a"]}
    ids = [worker.cast("krait_sessions", "content", meta=meta) for _ in range(8)]
    assert [inbox.answer(call_id) for call_id in ids] == [("ok", ["a", {"started": 2}])] * 8
    assert worker.read(worker.out) == b"start a\n"
    worker.send([8, 99, 1])
    assert worker.receive() == [4, 99]
    assert worker.read(worker.out) == b"ending a\nend a None\n"


def test_a_session_that_does_not_start_fails_each_of_its_calls(worker, inbox):
    meta = {"session": [1, "broken"]}
    ids = [worker.cast("krait_sessions", "content", meta=meta) for _ in range(4)]
    assert [failure(inbox.answer(call_id)) for call_id in ids] == ["ValueError"] * 4


def test_the_workers_end_is_its_sessions_end(worker):
    worker.call("krait_sessions", "incr", meta={"session": [1, "a"]})
    worker.call("krait_async", "leaves_a_task")
    worker.read(worker.out)
    assert worker.stop() == _exits.EXIT_OK
    assert worker.read(worker.out) == b"ending a\nend a 1\ntask cancelled\n"
    assert worker.read(worker.err) == b""


def test_batches_with_coroutines(worker, inbox):
    def batch(*calls):
        call_id = next(worker.ids)
        worker.send([6, call_id, [[module, function, list(args), {}] for module, function, *args in calls], None])
        return call_id

    call_id = batch(("math", "sqrt", 4), ("krait_async", "echo", 1), ("krait_faults", "no_such"), ("krait_async", "raises"))
    kind, outcomes = inbox.answer(call_id)
    assert outcomes[:3] == [[True, 2.0], [True, 1], [False, "no_function"]] and outcomes[3][:3] == [False, "python", "ValueError"]
    for function in ("busy", "sleep"):
        call_id = batch((M, function), ("math", "sqrt", 4))
        worker.read_line(worker.out)
        worker.send([3, call_id])
        assert failure(inbox.answer(call_id)) == "Interrupted"
        worker.read(worker.out)


# Calls back


@pytest.mark.parametrize("function", ["call", "async_call"])
def test_answers_to_calls_back_find_their_way(worker, inbox, function):
    ids = [worker.cast("krait_callbacks", function, PID, i) for i in range(4)]
    asked = {call_id: inbox.asked(call_id) for call_id in ids}
    for call_id in reversed(ids):
        worker.send([7, asked[call_id][0], "ok", -asked[call_id][1]])
    assert [inbox.answer(call_id) for call_id in ids] == [("ok", -i) for i in range(4)]


@pytest.mark.parametrize("function", ["call", "async_call"])
def test_an_interrupt_of_one_that_waits_for_the_node(worker, inbox, function):
    for _ in range(20):
        call_id = worker.cast("krait_callbacks", function, PID, 1)
        id_, _ = inbox.asked(call_id)
        worker.send([3, call_id])
        assert inbox.asked(call_id, "cancel")[0] == id_
        assert failure(inbox.answer(call_id)) == "Interrupted"


def test_calls_within_calls_run_though_all_slots_wait(worker, inbox):
    ids = [worker.cast("krait_callbacks", "call", PID, i) for i in range(4)]
    asked = [inbox.asked(call_id)[0] for call_id in ids]
    within = worker.cast("krait_callbacks", "about_itself")
    assert inbox.answer(within) == ("ok", [within, within, "about_itself"])
    for id_ in asked:
        worker.send([7, id_, "exit", Atom("noproc")])
    assert [failure(inbox.answer(call_id)) for call_id in ids] == ["Exit"] * 4


@pytest.mark.usefixtures("inputs")
def test_monitors_inputs_and_progress(worker, inbox):
    call_id = worker.cast("krait_callbacks", "watch", PID)
    worker.send([9, inbox.asked(call_id, "monitor")[0], "gone"])
    assert inbox.answer(call_id) == ("ok", ["gone", True, "gone", "gone"])
    call_id = worker.cast("krait_callbacks", "watch_a_little", PID)
    assert inbox.answer(call_id) == ("ok", [False, None])
    call_id = worker.cast("krait_callbacks", "async_watch", PID)
    worker.send([9, inbox.asked(call_id, "monitor")[0], "gone"])
    assert inbox.answer(call_id) == ("ok", ["gone", True])
    for function in ("input_items", "input_async"):
        call_id = worker.cast("krait_callbacks", function, INPUT)
        worker.send([7, inbox.asked(call_id)[0], "ok", items(1, 2)])
        worker.send([7, inbox.asked(call_id)[0], "ok", Atom("done")])
        assert inbox.answer(call_id) == ("ok", [1, 2])
    call_id = worker.cast("krait_callbacks", "progress", 1, meta={"progress": True})
    assert inbox.take(lambda frame: frame[0] == 8) == [8, call_id, 1]
    assert inbox.answer(call_id) == ("ok", "done")


def test_what_a_call_leaves_waiting_ends_with_it(worker, inbox):
    call_id = worker.cast("krait_callbacks", "ends_before", PID)
    assert inbox.answer(call_id) == ("ok", "done")
    kind, (words,) = worker_answer(worker, inbox, "what_was_left")
    assert "has ended" in words


def worker_answer(worker, inbox, function, *args):
    return inbox.answer(worker.cast("krait_callbacks", function, *args))


# The rest


def test_a_thread_of_the_users_is_outside_unless_it_gets_the_context(worker):
    assert worker.call(M, "in_thread_of_its_own") == ("ok", [False, True])


def test_the_end_comes_though_calls_wait(worker, inbox):
    worker.cast("krait_callbacks", "call", PID, 1)
    worker.cast("krait_streams", "watched", 9, meta={"stream": 0})
    inbox.take(lambda frame: frame[0] == 7), inbox.take(lambda frame: frame[0] == 5)
    assert worker.stop() in (_exits.EXIT_OK, _exits.EXIT_CHANNEL_LOST)


def test_what_is_no_frame_ends_it(worker):
    worker.send([10, 1])
    assert worker.wait() == _exits.EXIT_BAD_FRAME


def test_a_signal_is_not_how_it_is_interrupted(worker, inbox):
    call_id = worker.cast(M, "wait_for", "s")
    worker.read_line(worker.out)
    os.kill(worker.pid, 2)
    worker.cast(M, "signal", "s")
    assert inbox.answer(call_id) == ("ok", "s")
