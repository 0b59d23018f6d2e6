"""Coroutines of a worker with one slot."""

from __future__ import annotations

import os
import select
import signal

import pytest
from support import Worker, storm_of_interrupts

from krait import _exits


def called(worker, function, *args, **kwargs):
    return worker.call("krait_async", function, *args, **kwargs)


def failure(answer):
    assert answer[:2] == ("error", "python"), answer
    return answer[2], answer[4]


def test_a_coroutine_is_awaited(worker):
    assert called(worker, "echo", 1) == ("ok", 1)
    assert called(worker, "later", 2) == ("ok", 2)
    assert called(worker, "echo", [3], meta={"session": [1, "a"]}) == ("ok", [3])


def test_an_awaitable_within_a_value_is_none(worker):
    assert called(worker, "as_value", 1) == ("error", "unencodable", "result[0]", "krait_async.Later")


def test_its_exception_is_told_without_the_loops_frames(worker):
    answer = called(worker, "raises")
    assert failure(answer) == ("ValueError", "async")
    assert "asyncio" not in answer[5] and [frame[:2] for frame in answer[7]] == [["krait_async", "raises"]]


def test_it_knows_itself(worker):
    meta = {"traceparent": "00-ab-cd-01", "deadline_ms": 60_000}
    call_id = worker.cast("krait_async", "current", meta=meta)
    _, (id_, function, trace, left) = worker.answer(call_id)
    assert (id_, function, trace) == (call_id, "current", "00-ab-cd-01") and 50 < left <= 60


def test_there_is_one_loop(worker):
    assert called(worker, "loop_id") == called(worker, "loop_id")


def interrupt(worker, call_id):
    worker.send([3, call_id])
    os.kill(worker.pid, signal.SIGINT)


def test_an_interrupt_cancels_what_it_awaits_and_the_loop_stays_usable(worker):
    loop = called(worker, "loop_id")
    for _ in range(20):
        call_id = worker.cast("krait_async", "sleep")
        assert worker.read_line(worker.out) == b"begun\n"
        interrupt(worker, call_id)
        assert failure(worker.answer(call_id))[0] == "KeyboardInterrupt"
        assert worker.read(worker.out) in (b"cancelled\nfinally\n", b"finally\n")  # the latter: still busy
        assert called(worker, "loop_id") == loop
    assert worker.read(worker.err) == b""


EPOLL_WAITS = ("22 ", "232 ", "281 ")  # epoll_pwait of aarch64; epoll_wait, epoll_pwait of x86_64


def test_an_interrupt_while_it_awaits_is_a_cancellederror_in_it(worker):
    for _ in range(3):
        call_id = worker.cast("krait_async", "sleep")
        assert worker.read_line(worker.out) == b"begun\n"
        while not open_text(f"/proc/{worker.pid}/syscall").startswith(EPOLL_WAITS):
            pass
        interrupt(worker, call_id)
        assert failure(worker.answer(call_id))[0] == "KeyboardInterrupt"
        assert worker.read(worker.out) == b"cancelled\nfinally\n"


def open_text(path):
    with open(path) as file:
        return file.read()


def test_an_interrupt_that_came_early_is_not_lost(worker):
    called(worker, "echo", 1)
    for _ in range(20):
        os.kill(worker.pid, signal.SIGSTOP)
        call_id = worker.cast("krait_async", "sleep")
        interrupt(worker, call_id)
        os.kill(worker.pid, signal.SIGCONT)
        assert failure(worker.answer(call_id))[0] == "KeyboardInterrupt"
    assert called(worker, "echo", 1) == ("ok", 1)


def test_a_coroutine_may_survive_its_interrupt(worker):
    call_id = worker.cast("krait_async", "stubborn")
    worker.read_line(worker.out)
    while not select.select([worker.sock], [], [], 0.05)[0]:  # it may not await yet
        interrupt(worker, call_id)
    answer = worker.answer(call_id)
    assert answer == ("ok", "survived") or failure(answer)[0] == "KeyboardInterrupt"
    assert called(worker, "echo", 1) == ("ok", 1)


@pytest.mark.parametrize("function", ["busy", "blocks"])
def test_an_interrupt_reaches_a_coroutine_that_does_not_await(worker, function):
    call_id = worker.cast("krait_async", function)
    worker.read_line(worker.out)
    interrupt(worker, call_id)
    assert failure(worker.answer(call_id))[0] == "KeyboardInterrupt"
    assert called(worker, "echo", 1) == ("ok", 1)


def test_a_coroutine_that_cancels_itself_says_so(worker):
    assert failure(called(worker, "cancels_itself"))[0] == "CancelledError"
    assert called(worker, "echo", 1) == ("ok", 1)


def test_a_task_left_behind_goes_on_when_the_loop_next_runs(worker):
    called(worker, "leaves_a_task")
    first, knows = called(worker, "ticked")[1]
    assert called(worker, "ticked")[1][0] > first and knows is False
    assert worker.stop() == _exits.EXIT_OK
    assert worker.read(worker.out) == b"task cancelled\n"
    assert worker.read(worker.err) == b""


def test_a_storm_of_interrupts_costs_no_loop():
    with Worker() as worker:
        called(worker, "echo", 0)
        with storm_of_interrupts(worker.pid):
            for i in range(200):
                call_id = worker.cast("krait_async", "echo", i)
                answer = worker.answer(call_id)
                assert answer == ("ok", i) or failure(answer)[0] in ("KeyboardInterrupt", "CancelledError")
        # the last of them may hit a call that comes after it, or be held for the next
        assert [called(worker, "echo", 1) for _ in range(3)][-1] == ("ok", 1)
