"""Interrupts that strike where Python ignores exceptions."""

from __future__ import annotations

import os
import signal

import pytest
from krait_swallows import HOWS
from support import Worker

M = "krait_swallows"


def interrupt(worker, call_id):
    worker.send([3, call_id])
    os.kill(worker.pid, signal.SIGINT)


def interrupted(worker, call_id, interrupt):
    assert worker.read_line(worker.out) == b"begun\n"
    interrupt(worker, call_id)
    return worker.answer(call_id)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("function", ["survives", "survives_awaiting"])
def test_an_interrupt_that_was_swallowed_is_raised_again_and_once(worker, how, function):
    for _ in range(5):
        call_id = worker.cast(M, function, how)
        assert interrupted(worker, call_id, interrupt) == ("ok", "KeyboardInterrupt")
        assert worker.value("echo", 1) == 1
    assert worker.read(worker.err) == b""


@pytest.mark.parametrize("how", HOWS)
def test_the_same_with_slots(how):
    with Worker(slots=2) as worker:
        for _ in range(5):
            call_id = worker.cast(M, "survives", how)
            answer = interrupted(worker, call_id, lambda _, id_: worker.send([3, id_]))
            assert answer == ("ok", "Interrupted")
            assert worker.value("echo", 1) == 1
        assert worker.read(worker.err) == b""


@pytest.mark.parametrize("slots", [1, 2])
def test_what_is_no_interrupt_is_told_as_ever(slots):
    with Worker(slots=slots) as worker:
        assert worker.call(M, "really_ignored") == ("ok", None)
        assert b"ValueError: said in a finalizer" in worker.read(worker.err)
