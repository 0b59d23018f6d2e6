"""The fork server as a process of its own, spoken to as the node does."""

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
from support import START, TESTS, Server, Watch, alive

import krait
from krait import _exits

METHODS = ["fork", "spawn"]


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
