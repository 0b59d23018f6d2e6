"""The processes that user code starts within a worker: they end with it, and hold nothing of it."""

from __future__ import annotations

import os
import signal

from support import Watch, alive, state

from krait import _exits


def test_children_that_user_code_forks_die_with_the_worker_though_in_a_session_of_their_own(worker):
    children = [worker.value("fork_grandchild"), worker.value("fork_grandchild", True)]
    watch = Watch(*children)
    assert all(alive(child) for child in children)
    assert worker.value("echo", 1) == 1
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert watch.gone() == []


def test_a_forked_child_does_not_hold_the_channel_open(worker):
    child = worker.value("fork_grandchild")
    fds = [os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")]
    assert not [fd for fd in fds if fd.startswith("socket:")]
    assert worker.stop() == _exits.EXIT_OK


def test_a_child_of_a_thread_outlives_the_thread_and_can_be_interrupted(worker):
    worker.fault("fork_later")
    child = int(worker.read_line(worker.out))
    try:
        while len(os.listdir(f"/proc/{worker.pid}/task")) > 1:
            pass
        while state(child) != "S":  # one that comes just before it sleeps is seen when it wakes
            pass
        os.kill(child, signal.SIGINT)
        assert worker.read_line(worker.out) == b"interrupted\n"
    finally:
        os.killpg(worker.pid, signal.SIGKILL)


def test_a_child_stays_in_the_workers_process_group(worker):
    child = worker.value("fork_grandchild")
    program = worker.value("subprocess_grandchild")
    assert os.getpgid(child) == os.getpgid(program) == worker.pid
    watch = Watch(child, program)
    os.killpg(worker.pid, signal.SIGKILL)
    assert watch.gone() == []


def test_a_call_that_returns_twice_is_answered_once(worker):
    answer = worker.call("os", "fork")
    assert answer[0] == "ok" and answer[1] > 0
    assert worker.call("os", "waitpid", answer[1], 0) == ("ok", (answer[1], _exits.EXIT_CHANNEL_LOST << 8))
    assert worker.value("echo", 1) == 1
