"""What a worker may have of the machine, and the environment that it finds."""

from __future__ import annotations

import os
import resource
import signal

import pytest
from support import Server

from krait import _exits
from krait._settings import Settings

METHODS = ["fork", "spawn"]
MB = 1 << 20


@pytest.fixture(params=METHODS)
def started(request):
    """A worker of a pool with such settings."""
    servers = []

    def start(*cgroup, index=0, **setup):
        server = Server(method=request.param, preload=["krait_faults"], **setup)
        servers.append(server)
        return server.ready().start(index, *cgroup)[1]

    yield start
    for server in servers:
        server.__exit__()


def hello(wire):
    frame = wire.receive()
    assert frame is not None, wire.read(wire.err)
    return wire


def value(wire, module, function, *args):
    kind, value, *_ = wire.call(module, function, *args)
    assert kind == "ok", value
    return value


@pytest.mark.parametrize(
    "name, which, limit, hard",
    [
        ("as", resource.RLIMIT_AS, 2048 * MB, 2048 * MB),
        ("cpu", resource.RLIMIT_CPU, 100, 101),
        ("nofile", resource.RLIMIT_NOFILE, 100, 100),
        ("core", resource.RLIMIT_CORE, 0, 0),
    ],
)
def test_resource_limits_are_the_workers_and_cannot_be_lifted(started, name, which, limit, hard):
    wire = hello(started(limits={name: limit}))
    assert value(wire, "resource", "getrlimit", which) == (limit, hard)
    others = [other for other in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE) if other != which]
    for other in others:
        assert value(wire, "resource", "getrlimit", other) == resource.getrlimit(other)


def test_a_limit_of_address_space_is_a_memory_error(started):
    wire = hello(started(limits={"as": 2048 * MB}))
    assert wire.call("builtins", "bytearray", 3072 * MB)[2] == "MemoryError"
    assert wire.value("echo", 1) == 1


def test_niceness_and_oom_score_are_added(started):
    wire = hello(started(nice=3, oom_score_adj=700))
    assert value(wire, "os", "nice", 0) == os.nice(0) + 3
    assert value(wire, "krait_faults", "read_file", "/proc/self/oom_score_adj") == "700\n"


def test_the_index_is_put_into_the_environment(started):
    wire = hello(started(index=3, indexed_env=["GPU={index}", "TWICE={index}/{index}=", "EMPTY="]))
    assert value(wire, "os", "getenv", "GPU") == "3"
    assert value(wire, "os", "getenv", "TWICE") == "3/3="
    assert value(wire, "os", "getenv", "EMPTY") == ""


def test_workers_are_in_their_directory_and_find_modules_there(started, tmp_path):
    (tmp_path / "only_there.py").write_text("def where(): return __file__")
    wire = hello(started(cwd=str(tmp_path)))
    assert value(wire, "os", "getcwd") == str(tmp_path)
    assert value(wire, "only_there", "where") == str(tmp_path / "only_there.py")


def test_a_worker_joins_its_cgroup(started, tmp_path):
    (tmp_path / "cgroup.procs").write_text("")
    hello(started(str(tmp_path)))
    assert (tmp_path / "cgroup.procs").read_text() == "0"


@pytest.mark.parametrize(
    "setup, cgroup, told",
    [
        ({"limits": {"nofile": 1 << 40}}, (), f"krait: rlimit_nofile {1 << 40}: "),
        ({"oom_score_adj": 5000}, (), "krait: oom_score_adj 5000: Invalid argument\n"),
        ({}, ("/nowhere",), "krait: cgroup /nowhere: No such file or directory\n"),
    ],
    ids=["rlimit", "oom_score_adj", "cgroup"],
)
@pytest.mark.parametrize("method", METHODS)
def test_what_the_kernel_refuses_is_a_start_that_fails(method, setup, cgroup, told):
    with Server(method=method, **setup) as server:
        pid, wire = server.ready().start(0, *cgroup)
        assert wire.receive() is None
        words = wire.read(wire.err).decode()
        assert words.startswith(told) and words.count("\n") == 1
        assert server.expect("exited") == [pid, _exits.EXIT_START_FAILED, 0]


@pytest.mark.parametrize("method", METHODS)
def test_a_directory_that_is_not_there_is_told_by_the_fork_server(method):
    with Server(method=method, cwd="/nowhere") as server:
        assert server.expect("failed") == ["cwd /nowhere: No such file or directory"]
        assert server.wait() == _exits.EXIT_START_FAILED


@pytest.mark.parametrize("limits", [{"as": "1"}, {1: 1}, {"as": True}, [1]])
def test_limits_are_numbers_by_name(limits):
    with pytest.raises(ValueError, match="limits"):
        Settings.from_map({"limits": limits})


def test_limits_of_a_newer_node_are_ignored():
    with Server(limits={"later": 1}) as server:
        hello(server.ready().start()[1])


# One that hangs is asked where, before it is killed


@pytest.mark.parametrize("slots", [1, 2])
def test_sigabrt_makes_it_say_where_each_thread_is(slots):
    with Server(preload=["krait_faults"], slots=slots) as server:
        pid, wire = server.ready().start()
        hello(wire)
        wire.cast("krait_faults", "hang")
        wire.read_line(wire.out)
        os.kill(pid, signal.SIGABRT)
        assert server.expect("exited") == [pid, 0, signal.SIGABRT]
        words = wire.read(wire.err).decode()
        assert "Fatal Python error: Aborted" in words and "in hang" in words
        assert words.count("most recent call first") == slots


@pytest.mark.parametrize("method", METHODS)
def test_also_when_it_hangs_in_c(method):
    with Server(method=method) as server:
        pid, wire = server.ready().start()
        hello(wire)
        wire.cast("krait_faults", "hang_in_c")
        wire.read_line(wire.out)
        os.kill(pid, signal.SIGABRT)
        assert server.expect("exited") == [pid, 0, signal.SIGABRT]
        assert "in hang_in_c" in wire.read(wire.err).decode()
