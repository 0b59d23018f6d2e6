"""The fork server: what makes no sense is refused, and whose end ends whom."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap

import msgpack
import pytest
from support import METHODS, START, TESTS, Server, Watch, alive

from krait import _exits


# What makes no sense


def test_bad_packets_are_refused_and_the_next_is_served():
    with Server() as server:
        server.ready()
        null = os.open(os.devnull, os.O_RDWR)
        before = len(os.listdir(f"/proc/{server.pid}/fd"))
        for data in (b"\xc1", b"\x90", b"\x01", b"x" * 100, msgpack.packb({"a": 1}), msgpack.packb(["start"]) * 2):
            server.send_bytes(data)
        server.send("dance", 1)
        server.send("reap", "x")
        server.send("reap", 1)
        server.send("reap", os.getpid())
        server.send("start", "x", 0, fds=(null,) * 4)
        server.send("start", 2**64 - 1, 0, fds=(null,) * 2)
        assert server.expect("fork_failed") == [2**64 - 1, "start with 2 descriptors"]
        server.send("start", 5, 0)
        assert server.expect("fork_failed")[0] == 5
        server.send("setup", {}, fds=(null,))
        os.close(null)
        server.start()[1].receive()
        assert len(os.listdir(f"/proc/{server.pid}/fd")) == before
        assert b"refused a packet" in os.read(server.err, 65536)


@pytest.mark.parametrize(
    "setup, told",
    [
        ([], "first packet"),
        (["setup"], "first packet"),
        (["start", 1, 2], "first packet"),
        (["setup", 5], "a map is needed"),
        (["setup", {"method": "thread"}], "method is one of fork, spawn"),
        (["setup", {"preload": "x"}], "preload is a list"),
        (["setup", {"preload": [1]}], "preload holds strings"),
        (["setup", {"expose": [["a", "b"]]}], "expose holds"),
        (["setup", {"max_depth": "x"}], "max_depth is a int"),
        (["setup", {"max_depth": True}], "max_depth is a int"),
    ],
)
def test_a_setup_that_makes_no_sense_is_told(setup, told):
    with Server(say_setup=False) as server:
        server.send(*setup)
        (text,) = server.expect("failed")
        assert told in text and server.wait() == _exits.EXIT_BAD_FRAME


def test_keys_of_a_newer_node_are_ignored():
    with Server(brand_new=1, utf8=True) as server:
        server.ready()


def test_run_by_hand_it_says_what_it_is():
    done = subprocess.run([sys.executable, START], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == _exits.EXIT_USAGE and b"the node starts this process" in done.stderr


def test_a_fork_that_fails_is_told_and_later_ones_succeed():
    with Server(preload=["krait_fork_bomb"]) as server:
        server.ready()
        a, b = socket.socketpair()
        r, w = os.pipe()
        server.send("start", 9, 0, fds=(b.fileno(), w, w, b.fileno()))
        worker_id, text = server.expect("fork_failed")
        assert worker_id == 9 and "no forks today" in text
        for fd in (r, w):
            os.close(fd)
        a.close()
        b.close()
        server.start()[1].receive()


def test_a_child_that_somebody_else_waited_for_is_told_with_an_unknown_status():
    with Server(preload=["krait_faults", "krait_thief"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        wire.cast("krait_faults", "exit", 1)
        assert server.expect("exited") == [pid, _exits.EXIT_UNKNOWN, 0]
        server.start()[1].receive()


# Deaths


def test_the_end_of_the_control_socket_ends_server_and_workers():
    with Server(preload=["krait_faults"]) as server:
        server.ready()
        pids = [server.pid]
        for call in ("hang", "hang_in_c", None):
            pid, wire = server.start()
            wire.receive()
            pids.append(pid)
            if call:
                wire.cast("krait_faults", call)
                wire.read_line(wire.out)
        watch = Watch(*pids)
        server.sock.close()
        assert server.wait() == _exits.EXIT_OK
        assert watch.gone() == []


def test_a_killed_server_takes_its_workers_along():
    with Server(preload=["krait_faults"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        grandchildren = [wire.value("fork_grandchild", setsid) for setsid in (False, True)]
        wire.cast("krait_faults", "hang_in_c")
        wire.read_line(wire.out)
        watch = Watch(pid, *grandchildren)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        assert watch.gone() == []


NODE = """
    import os, signal, sys
    sys.path[:0] = [{tests!r}, {package!r}]
    from support import Server
    server = Server(method={method!r}, preload=["krait_faults"]).ready()
    pids = [server.pid]
    for call in ("hang", "hang_in_c", None):
        pid, wire = server.start()
        wire.receive()
        pids += [pid, wire.value("fork_grandchild"), wire.value("fork_grandchild", True)]
        if call:
            wire.cast("krait_faults", call)
            wire.read_line(wire.out)
    print(*pids, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("method", METHODS)
def test_when_the_node_is_killed_nothing_is_left(method):
    code = textwrap.dedent(NODE).format(tests=TESTS, package=os.path.dirname(TESTS), method=method)
    node = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        pids = [int(pid) for pid in node.stdout.readline().split()]
        assert len(pids) == 10 and all(alive(pid) for pid in pids)
        watch = Watch(*pids)
    finally:
        node.kill()
        node.wait()
        node.stdout.close()
    assert watch.gone(within=5) == []


def test_a_server_whose_node_is_not_its_parent_leaves():
    with Server(node_pid=1) as server:
        assert server.receive() is None and server.wait() == _exits.EXIT_ORPHANED


def test_a_busy_server_follows_a_node_that_dies_in_the_preload():
    code = textwrap.dedent(
        """
        import os, signal, sys
        sys.path[:0] = [{tests!r}, {package!r}]
        from support import Server
        server = Server(preload=["slow_import"], env={{"KRAIT_TEST_IMPORT_SECONDS": "3600"}})
        print(server.pid, flush=True)
        signal.pause()
        """
    ).format(tests=TESTS, package=os.path.dirname(TESTS))
    node = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    pid = int(node.stdout.readline())
    watch = Watch(pid)
    node.kill()
    node.wait()
    node.stdout.close()
    assert watch.gone(within=5) == []


def test_sigint_is_the_nodes_affair_and_reaches_no_idle_process():
    with Server(preload=["krait_faults"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        for target in (server.pid, pid):
            os.kill(target, signal.SIGINT)
        assert wire.value("echo", 1) == 1
        call_id = wire.cast("krait_faults", "hang")
        wire.read_line(wire.out)
        os.kill(pid, signal.SIGINT)
        assert wire.answer(call_id)[2] == "KeyboardInterrupt"
        server.start()[1].receive()


@pytest.mark.parametrize("method", METHODS)
def test_sigterm_ends_an_idle_and_a_busy_worker(method):
    with Server(method=method, preload=["krait_faults"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        wire.cast("krait_faults", "hang")
        wire.read_line(wire.out)
        os.kill(pid, signal.SIGTERM)
        assert server.expect("exited") == [pid, 0, signal.SIGTERM]


def test_a_crash_of_a_forked_worker_leaves_a_stack_dump_with_the_worker():
    with Server(preload=["krait_faults"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        wire.cast("krait_faults", "crash", "SIGABRT")
        assert server.expect("exited") == [pid, 0, signal.SIGABRT]
        assert "in crash" in wire.read(wire.err).decode()


def test_multiprocessing_works_in_a_worker():
    with Server(preload=["krait_faults", "krait_multi"]) as server:
        server.ready()
        _, wire = server.start()
        wire.receive()
        for method in ("fork", "spawn"):
            assert wire.call("krait_multi", "squares", method, [1, 2, 3]) == ("ok", [1, 4, 9]), wire.read(wire.err)


def test_handlers_registered_in_the_preload_run_in_each_worker_and_loggers_reach_its_pipe():
    with Server(preload=["krait_preloaded"]) as server:
        server.ready()
        pid, wire = server.start()
        wire.receive()
        assert wire.call("krait_preloaded", "warn", "hot")[0] == "ok"
        assert wire.read(wire.err) == b"preloaded: hot\n"
        wire.sock.close()
        assert server.expect("exited") == [pid, 0, 0]
        assert wire.read(wire.out) == b"goodbye\n"
        assert not select.select([server.err], [], [], 0)[0]
