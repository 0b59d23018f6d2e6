"""Interrupts: a KeyboardInterrupt in the call that they name, and in nothing else."""

from __future__ import annotations

import os
import select
import signal
import sys
import types

import pytest
from support import error, open_text, storm_of_interrupts

from krait import _exits, _worker

SYS_FUTEX = 98 if os.uname().machine == "aarch64" else 202


def test_an_interrupt_is_a_keyboardinterrupt_in_the_call(worker):
    call_id = worker.cast("krait_faults", "hang")
    worker.read_line(worker.out)
    os.kill(worker.pid, signal.SIGINT)
    type_, _, _, traceback, _ = error(worker.answer(call_id))
    assert type_ == "KeyboardInterrupt" and "in hang" in traceback
    assert worker.value("echo", 1) == 1


def test_an_interrupt_between_calls_is_ignored(worker):
    for _ in range(50):
        os.kill(worker.pid, signal.SIGINT)
        assert worker.value("echo", 1) == 1
    assert worker.read(worker.err) == b""


def test_an_interrupt_that_comes_before_its_call_has_begun_is_not_lost(worker):
    for _ in range(20):
        os.kill(worker.pid, signal.SIGSTOP)
        call_id = worker.cast("time", "sleep", 3600)
        worker.send([3, call_id])
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGCONT)
        assert error(worker.answer(call_id))[0] == "KeyboardInterrupt"
    assert worker.value("echo", 1) == 1


def test_an_interrupt_whose_call_has_ended_costs_nobody_anything(worker):
    for _ in range(20):
        call_id = worker.cast("krait_faults", "echo", 1)
        assert worker.answer(call_id) == ("ok", 1)
        worker.send([3, call_id])
        os.kill(worker.pid, signal.SIGINT)
        worker.send([2, 7])
        assert worker.receive() == [4, 7]
        assert worker.value("echo", 2) == 2


def test_a_function_in_c_that_the_loop_called_is_interrupted_too(worker):
    call_id = worker.cast("time", "sleep", 3600)
    while not select.select([worker.sock], [], [], 0.01)[0]:  # those before it began are ignored
        os.kill(worker.pid, signal.SIGINT)
    assert error(worker.answer(call_id))[0] == "KeyboardInterrupt"
    assert worker.value("echo", 1) == 1


def test_a_stubborn_call_hears_every_interrupt(worker):
    worker.cast("krait_faults", "hang_stubborn")
    worker.read_line(worker.out)
    for _ in range(3):
        while not select.select([worker.out], [], [], 0.01)[0]:  # one that comes on another's heels is silent
            os.kill(worker.pid, signal.SIGINT)
        assert worker.read_line(worker.out) == b"interrupted\n"


def test_an_interrupt_is_raised_once_beside_the_call_and_always_within_it():
    interrupt = _worker.Interrupt()
    beside = types.SimpleNamespace(f_code=_worker._loop.__code__)
    within = sys._getframe()
    interrupt(2, beside)
    interrupt(2, within)
    for frame, armed_afterwards in ((within, True), (beside, False)):
        interrupt.armed = True
        with pytest.raises(KeyboardInterrupt):
            interrupt(2, frame)
        assert interrupt.armed is armed_afterwards


def test_a_storm_of_interrupts_costs_no_answer_and_no_worker(worker):
    big = {"x" * 20: ["y" * 1000] * 500}
    with storm_of_interrupts(worker.pid):
        for i in range(400):
            value = big if i % 100 == 0 else i
            call_id = worker.cast("krait_faults", "echo", value)
            answer = worker.answer(call_id)
            assert answer == ("ok", value) or error(answer)[0] == "KeyboardInterrupt"
    # the last of them may hit a call that comes after it, or be held for the next
    assert [worker.fault("echo", 1) for _ in range(3)][-1] == ("ok", 1)
    assert worker.stop() == _exits.EXIT_OK


def test_a_worker_hung_in_c_is_deaf_to_interrupts(worker):
    worker.cast("krait_faults", "hang_in_c")
    worker.read_line(worker.out)
    while not open_text(f"/proc/{worker.pid}/syscall").startswith(f"{SYS_FUTEX} "):
        pass
    os.kill(worker.pid, signal.SIGINT)
    assert select.select([worker.sock], [], [], 0.2)[0] == []
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
