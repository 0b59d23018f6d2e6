"""Calls that are sent ahead: taken one by one, told, and never at another time."""

from __future__ import annotations

import os
import signal
import socket

from krait._pace import Pace

TAKEN, RESULT = 9, 2


def have_back(worker):
    """The ids of those that the worker has not taken, as the node has them back."""
    ids = []
    while True:
        try:
            ids.append(int.from_bytes(worker.theirs_ahead.recv(8, socket.MSG_DONTWAIT), "big"))
        except BlockingIOError:
            return ids


def go_on(worker):
    os.kill(worker.pid, signal.SIGCONT)


def test_they_are_run_in_their_order_and_each_is_told_before_the_answer_to_the_one_before(worker):
    os.kill(worker.pid, signal.SIGSTOP)
    first = worker.cast("krait_faults", "echo", "first")
    ahead = [worker.send_ahead("krait_faults", "echo", n) for n in range(5)]
    go_on(worker)
    answers = iter([first, *ahead])
    values = iter(["first", *range(5)])
    for taken in ahead:
        assert worker.receive() == [TAKEN, taken]
        assert worker.receive() == [RESULT, next(answers), next(values)]
    assert worker.receive() == [RESULT, ahead[-1], 4]
    assert have_back(worker) == []


def test_between_calls_it_does_not_look(worker):
    assert worker.value("echo", 1) == 1
    ahead = worker.send_ahead("krait_faults", "echo", 2)
    worker.send([2, 99])
    assert worker.receive() == [4, 99]
    assert have_back(worker) == [ahead]
    worker.send_ahead("krait_faults", "echo", 3)
    worker.send([5, 1])  # a CLOSE that is late
    worker.send([2, 99])
    assert worker.receive() == [4, 99]
    assert len(have_back(worker)) == 1


def test_what_was_had_back_is_not_run(worker):
    os.kill(worker.pid, signal.SIGSTOP)
    first = worker.cast("krait_faults", "echo", "first")
    ahead = [worker.send_ahead("krait_faults", "echo", n) for n in range(3)]
    assert have_back(worker) == ahead
    go_on(worker)
    assert worker.receive() == [RESULT, first, "first"]
    assert worker.value("echo", 1) == 1


def test_what_fails_is_told_and_the_next_runs(worker):
    os.kill(worker.pid, signal.SIGSTOP)
    first = worker.cast("krait_faults", "no_such_function")
    second = worker.send_ahead("math", "sqrt", "x")
    third = worker.send_ahead("math", "sqrt", 4)
    go_on(worker)
    assert worker.receive() == [TAKEN, second]
    assert worker.receive()[:3] == [3, first, "no_function"]
    assert worker.receive() == [TAKEN, third]
    assert worker.receive()[:4] == [3, second, "python", "TypeError"]
    assert worker.receive() == [RESULT, third, 2.0]


def test_an_interrupt_means_the_call_that_it_names(worker):
    for _ in range(20):
        os.kill(worker.pid, signal.SIGSTOP)
        first = worker.cast("krait_faults", "echo", 1)
        second = worker.send_ahead("time", "sleep", 3600)
        go_on(worker)
        assert worker.receive() == [TAKEN, second]
        assert worker.receive() == [RESULT, first, 1]
        worker.send([3, second])
        os.kill(worker.pid, signal.SIGINT)
        assert worker.answer(second)[:3] == ("error", "python", "KeyboardInterrupt")
    assert worker.value("echo", 1) == 1


def test_a_deadline_comes_with_it(worker):
    os.kill(worker.pid, signal.SIGSTOP)
    first = worker.cast("krait_faults", "echo", 1)
    second = worker.send_ahead("krait_faults", "current", meta={"deadline_ms": 60000})
    go_on(worker)
    assert worker.receive() == [TAKEN, second]
    assert worker.receive() == [RESULT, first, 1]
    kind, call = worker.answer(second)
    assert kind == "ok" and call[0] == second and 0 < call[-1] <= 60


def policy(worker):
    return worker.call("os", "sched_getscheduler", 0)[1]


def stream_of_calls(worker, count):
    """So many calls, each of which finds the next one waiting."""
    os.kill(worker.pid, signal.SIGSTOP)
    first = worker.cast("krait_faults", "echo", 0)
    ids = [first] + [worker.send_ahead("krait_faults", "echo", 0) for _ in range(count)]
    go_on(worker)
    while worker.receive() != [RESULT, ids[-1], 0]:
        pass


def test_a_steady_stream_of_calls_is_batch_work_to_the_kernel_until_it_ends(worker):
    stream_of_calls(worker, 3)
    assert policy(worker) == os.SCHED_OTHER
    stream_of_calls(worker, 4)
    assert policy(worker) == os.SCHED_BATCH
    for _ in range(40):
        worker.value("echo", 1)
    assert policy(worker) == os.SCHED_OTHER


def test_a_policy_that_the_operator_has_chosen_stays():
    before = os.sched_getscheduler(0)
    pid = os.fork()
    if pid == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            pace = Pace()
            pace.steady()
            pace.single()
            os._exit(os.sched_getscheduler(0))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == before
