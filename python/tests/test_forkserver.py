"""The fork server as a process of its own, spoken to as the node does."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from support import METHODS, START, TESTS, Server, alive

import krait
from krait import _exits


def last_words(wire):
    """The end of a worker's channel, then what it wrote to stderr."""
    assert wire.receive() is None
    return wire.read(wire.err).decode()


def test_it_is_ready_when_the_preload_is_done():
    with Server(preload=["krait_faults"]) as server:
        pid, versions = server.expect("ready")
        assert pid == server.pid and versions["krait"] == krait.__version__
        worker_pid, wire = server.start()
        hello = wire.receive()
        assert hello[0] == 1 and hello[2] == worker_pid
        assert wire.value("imported", "krait_faults") is True


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_serves_prints_and_leaves(method):
    with Server(method=method, pool="gpu", preload=["krait_faults"], expose=[["c", "krait_faults", "Counter"]]) as server:
        server.ready()
        pid, wire = server.start(index=3)
        assert wire.receive()[2] == pid
        assert wire.value("echo", {"a": [1, (2,)]}) == {"a": [1, (2,)]}
        assert wire.call("c", "incr") == ("ok", 1)
        assert wire.value("env", "KRAIT_WORKER_INDEX") == "3" and wire.value("env", "KRAIT_POOL") == "gpu"
        assert wire.value("parent_pid") == server.pid and os.getpgid(pid) == pid
        wire.fault("print_", "to stdout")
        wire.fault("print_", "to stderr", "stderr")
        assert (wire.read(wire.out), wire.read(wire.err)) == (b"to stdout\n", b"to stderr\n")
        wire.sock.close()
        assert server.expect("exited") == [pid, 0, 0]
        server.send("reap", pid)


def holds_a_socket(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                return not inherited(int(fd), os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:  # closed meanwhile
            pass
    return False


def inherited(fd, target):
    try:
        return os.get_inheritable(fd) and os.readlink(f"/proc/self/fd/{fd}") == target
    except OSError:
        return False


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_holds_nothing_but_what_is_its_own(method):
    with Server(method=method) as server:
        server.ready()
        server.start()[1].receive()
        pid, wire = server.start()
        wire.receive()
        fds = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        for fd in list(fds):  # what whoever ran the tests left open is not the server's
            if fd > 2 and inherited(fd, fds[fd]):
                del fds[fd]
        assert fds[0] == "/dev/null"
        assert sorted(fds) == [0, 1, 2, *(fd for fd in fds if fd > 2 and fds[fd].startswith("socket:"))]
        assert len(fds) == 5  # and the channel, and the queue of calls sent ahead
        child = wire.value("subprocess_grandchild")
        assert not holds_a_socket(child)


def test_the_server_keeps_no_descriptor_of_a_worker():
    with Server() as server:
        server.ready()
        before = os.listdir(f"/proc/{server.pid}/fd")
        for _ in range(5):
            server.start()[1].receive()
        assert os.listdir(f"/proc/{server.pid}/fd") == before


def test_many_workers_start_side_by_side():
    with Server(preload=["krait_faults"]) as server:
        server.ready()
        started = [server.start(i) for i in range(20)]
        assert [wire.receive()[2] for _, wire in started] == [pid for pid, _ in started]
        for _, wire in started:
            wire.cast("krait_faults", "exit", 3)
        ends = sorted(server.expect("exited") for _ in started)
        assert ends == sorted([pid, 3, 0] for pid, _ in started)


@pytest.mark.parametrize("function, arg, end", [("exit", 7, [7, 0]), ("crash", "SIGSEGV", [0, 11]), ("crash", "SIGKILL", [0, 9])])
def test_an_end_is_told_once_and_its_pid_kept_until_reap(function, arg, end):
    with Server(preload=["krait_faults"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        wire.cast("krait_faults", function, arg)
        assert server.expect("exited") == [pid, *end]
        os.killpg(pid, 0)  # still there to be signalled, though dead
        assert not alive(pid)
        other, wire = server.start()
        wire.receive()
        wire.cast("krait_faults", "exit", 1)
        assert server.expect("exited") == [other, 1, 0], "and the first is not told again"
        server.send("reap", pid)
        server.send("reap", other)
        server.start()[1].receive()  # packets are served in order
        for gone in (pid, other):
            with pytest.raises(ProcessLookupError):
                os.kill(gone, 0)


def test_reap_before_the_end_is_done_at_the_end():
    with Server(preload=["krait_faults"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        server.send("reap", pid)
        assert wire.value("echo", 1) == 1
        wire.cast("krait_faults", "exit", 1)
        assert server.expect("exited") == [pid, 1, 0]
        server.start()[1].receive()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_preload_that_raises_is_told_and_ends_it():
    with Server(preload=["krait_faults", "broken_import"]) as server:
        (text,) = server.expect("failed")
        assert "RuntimeError: broken_import is broken" in text and "broken_import.py" in text
        assert server.receive() is None and server.wait() == _exits.EXIT_PRELOAD_FAILED
        assert b"broken_import is broken" in os.read(server.err, 65536)


def test_a_preload_that_exits_is_told_where_python_can():
    with Server(preload=["krait_no_such_module"]) as server:
        (text,) = server.expect("failed")
        assert "No module named 'krait_no_such_module'" in text
        assert server.wait() == _exits.EXIT_PRELOAD_FAILED
    with Server(preload=["exiting_import"], env={"KRAIT_TEST_EXIT": "8"}) as server:
        assert server.receive() is None and server.wait() == 8


def test_a_long_traceback_is_cut():
    with Server(preload=["long_import"], path=[TESTS]) as server:
        (text,) = server.expect("failed")
        assert len(text) <= 16 << 10 and "[...]" in text and text.endswith("the end\n")


def test_spawned_workers_import_for_themselves_and_say_why_they_cannot():
    with Server(method="spawn", preload=["broken_import"]) as server:
        server.ready()
        pid, wire = server.start()
        assert "broken_import is broken" in last_words(wire)
        assert server.expect("exited") == [pid, _exits.EXIT_START_FAILED, 0]


@pytest.mark.parametrize("method", METHODS)
def test_an_exposed_class_that_raises_fails_the_start(method):
    with Server(method=method, expose=[["c", "krait_faults", "BrokenCounter"]]) as server:
        server.ready()
        pid, wire = server.start()
        assert "the counter is broken" in last_words(wire)
        assert server.expect("exited") == [pid, _exits.EXIT_START_FAILED, 0]


def test_user_modules_are_found_in_the_current_directory_and_krait_shadows_nothing(tmp_path, monkeypatch):
    (tmp_path / "my_module.py").write_text("def f():\n    return 'mine'\n")
    (tmp_path / "krait.py").write_text("raise RuntimeError('the wrong krait')\n")
    monkeypatch.chdir(tmp_path)
    for method in METHODS:
        with Server(method=method, path=[]) as server:
            server.ready()
            _, wire = server.start()
            wire.receive()
            assert wire.call("my_module", "f") == ("ok", "mine")
            assert wire.call("krait", "identity", 1) == ("ok", 1)
            assert wire.call("_codec", "x") == ("error", "not_allowed")


def test_modules_of_krait_are_no_top_level_modules():
    with Server() as server:
        server.ready()
        _, wire = server.start()
        wire.receive()
        assert wire.value("importable", "krait") is True
        assert wire.value("importable", "_codec") is False


def test_programs_that_a_preload_starts_do_not_hold_the_control_socket():
    with Server(preload=["krait_starter"]) as server:
        server.ready()
        _, wire = server.start()
        wire.receive()
        pid = wire.call("krait_starter", "started")[1]
        try:
            assert not holds_a_socket(pid)
        finally:
            os.kill(pid, signal.SIGKILL)


def test_workers_draw_different_numbers():
    with Server(preload=["random"]) as server:
        server.ready()
        wires = [server.start()[1] for _ in range(2)]
        for wire in wires:
            wire.receive()
        a, b = (wire.call("random", "random") for wire in wires)
        assert a != b


def test_the_interpreter_it_runs_in_may_be_of_any_flags():
    for flags in (["-B"], ["-s"], ["-u", "-X", "utf8"], *([["-P"]] if sys.version_info >= (3, 11) else [])):
        with Server(argv=[sys.executable, *flags, START]) as server:
            server.ready()
            assert server.start()[1].receive()[0] == 1
