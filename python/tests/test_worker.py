"""A worker, from HELLO to its exit status."""

from __future__ import annotations

import os
import resource
import select
import signal
import struct
import sys
import time

import krait_faults
import msgpack
import pytest
from support import Watch, Worker, alive, error, open_text

import krait
from krait import _exits, _failure


def test_it_says_hello_once_it_can_serve(worker):
    type_, call_id, pid, versions = worker.hello
    assert (type_, call_id, pid) == (1, 0, worker.pid)
    assert versions == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "krait": krait.__version__,
        "msgpack": ".".join(map(str, msgpack.version)),
        "gil": "enabled" if getattr(sys, "_is_gil_enabled", lambda: True)() else "disabled",
    }


def test_it_answers_calls_and_pings_in_order(worker):
    ids = [worker.cast("math", "sqrt", x) for x in (4, 9, 16)]
    worker.send([2, 99])
    assert [worker.answer(call_id) for call_id in ids] == [("ok", 2.0), ("ok", 3.0), ("ok", 4.0)]
    assert worker.receive() == [4, 99]


def test_arguments_and_keywords_arrive(worker):
    assert worker.value("keywords", 1, "a", x=2, y=[3]) == [[1, "a"], {"x": 2, "y": [3]}]
    assert worker.value("keywords") == [[], {}]


@pytest.mark.parametrize(
    "value",
    [
        None,
        -1,
        2**100,
        1.5,
        "text",
        b"\xff",
        (),
        ((), [(1,)]),
        krait.Atom("ok"),
        krait.Pid(b"X"),
        {krait.ListKey([1]): {(1, 2): krait.MapKey({1: 2})}},
        "x" * 100_000,
        b"x" * 5_000_000,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_goes_in_comes_out(worker, value):
    kind, back = worker.call("krait", "identity", value)
    assert kind == "ok" and back == value and type(back) is type(value)


@pytest.mark.parametrize("kind", ["list", "tuple"])
@pytest.mark.parametrize("depth", [10, 100, 1000, 3000])
def test_any_depth_comes_in(worker, kind, depth):
    assert worker.value("depth_of", krait_faults.nested(depth, kind)) == depth


def test_results_are_as_deep_and_as_large_as_the_limits_say():
    with Worker(max_depth=600, max_result_bytes=100_000) as worker:
        assert krait_faults.depth_of(worker.value("nested", 600)) == 600
        assert worker.fault("nested", 601) == ("error", "too_deep", 600)
        assert worker.fault("nested", 601, "tuple") == ("error", "too_deep", 600)
        assert worker.fault("cycle") == ("error", "too_deep", 600)
        assert len(worker.value("huge", 99_995)) == 99_995
        assert worker.fault("huge", 99_996) == ("error", "too_large", 100_001, 100_000)
        assert worker.fault("huge_list", 200_000) == ("error", "too_large", 200_005, 100_000)
        assert worker.value("echo", 1) == 1


def test_what_has_no_term_is_told_and_the_next_call_served(worker):
    assert worker.fault("unencodable") == ("error", "unencodable", "result.a[1][1]", "krait_faults.Unencodable")
    assert worker.fault("lone_surrogate") == ("error", "unencodable", "result", ":invalid_utf8")
    assert worker.value("with_form", (1, krait.Atom("a"))) == (1, "a")
    assert worker.value("echo", 1) == 1


@pytest.mark.parametrize(
    "module, function, kind",
    [
        ("krait_no_such_module", "f", "no_function"),
        ("math", "no_such", "no_function"),
        ("krait_faults", "value", "no_function"),
        ("math", "_private", "not_allowed"),
        ("krait._worker", "run", "not_allowed"),
    ],
)
def test_names_that_lead_nowhere(worker, module, function, kind):
    assert worker.call(module, function) == ("error", kind)


def test_only_what_is_allowed_is_called():
    with Worker(allow=("math", "krait_faults.echo"), expose=(("c", "krait_faults", "Counter"),)) as worker:
        assert worker.call("math", "sqrt", 4) == ("ok", 2.0)
        assert worker.value("echo", 1) == 1
        assert worker.fault("pid") == ("error", "not_allowed")
        assert worker.call("os", "getpid") == ("error", "not_allowed")
        assert worker.call("c", "incr") == ("ok", 1)
        assert worker.call("c", "incr", by=2) == ("ok", 3)


def test_an_exception_is_told_in_full(worker):
    type_, module, message, traceback, args = error(worker.fault("raise_with_args", "a", 2))
    assert (type_, module, message, args) == ("ValueError", "builtins", "('a', 2)", ["a", 2])
    assert traceback.startswith("Traceback (most recent call last):\n") and traceback.endswith("ValueError: ('a', 2)\n")
    assert "krait_faults.py" in traceback and "raise ValueError(*args)" in traceback
    assert "_worker.py" not in traceback and "_resolve.py" not in traceback


def test_a_cause_is_told_too(worker):
    _, _, _, traceback, _ = error(worker.fault("raise_chained"))
    assert "KeyError: 'missing'" in traceback and "direct cause" in traceback and "outer" in traceback


def test_an_import_that_raises_is_an_exception_and_tried_again(worker):
    for _ in range(2):
        type_, _, message, traceback, _ = error(worker.call("broken_import", "f"))
        assert (type_, message) == ("RuntimeError", "broken_import is broken")
        assert "broken_import.py" in traceback and "importlib" not in traceback
    type_, _, message, _, _ = error(worker.call("missing_import", "never"))
    assert type_ == "ModuleNotFoundError" and "krait_test_module_that_is_missing" in message


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "StopIteration", "MemoryError", "RecursionError"])
def test_whatever_is_raised_is_an_answer(worker, name):
    assert error(worker.fault("raise_", name, "text"))[:3] == (name, "builtins", "text")
    assert worker.value("echo", 1) == 1


def test_sys_exit_does_not_end_the_worker(worker):
    assert error(worker.fault("sys_exit", 3))[0] == "SystemExit"
    assert worker.value("pid") == worker.pid


def test_wrong_arguments_are_the_callers_error(worker):
    type_, _, message, _, _ = error(worker.fault("echo"))
    assert type_ == "TypeError" and "argument" in message


def test_an_exception_that_cannot_be_shown_is_told(worker):
    type_, module, message, traceback, args = error(worker.fault("raise_unprintable"))
    assert (type_, module, message, args) == ("Unprintable", "krait_faults", "<unprintable Unprintable>", ["arg"])
    assert "Unprintable" in traceback


def test_arguments_of_an_exception_that_have_no_term_are_represented(worker):
    args = error(worker.fault("raise_with_object"))[4]
    assert args[0] == "first" and "Unencodable object" in args[1] and args[2] == {"k": 1}


def test_a_long_exception_is_cut(worker):
    _, _, message, traceback, args = error(worker.fault("raise_long", 10_000_000))
    assert len(message) == _failure.MESSAGE_CHARACTERS and message.endswith("xxx...")
    assert len(traceback) <= _failure.TRACEBACK_CHARACTERS + 100
    assert traceback.startswith("Traceback") and traceback.endswith("xxx\n")
    assert len(args) == 1 and len(args[0]) <= _failure.ARG_REPR_CHARACTERS


def test_many_arguments_of_an_exception_are_cut(worker):
    args = error(worker.fault("raise_with_args", *range(1000)))[4]
    assert args == [*range(_failure.ARGS_COUNT), "..."]
    args = error(worker.fault("raise_with_args", *["x" * 60_000] * 20))[4]
    assert args == ["x" * 60_000] * 4 + ["..."]
    (arg,) = error(worker.fault("raise_with_args", ["x" * 40_000] * 2))[4]
    assert arg.startswith("['xxx") and len(arg) <= _failure.ARG_REPR_CHARACTERS


def test_surrogates_in_a_message_are_escaped(worker):
    assert error(worker.fault("raise_", "ValueError", "a"))[2] == "a"
    _, _, message, _, args = error(worker.call("krait_faults", "add", "x", 1))
    assert message
    assert error(worker.call("builtins", "open", "\udc80".encode("utf-8", "surrogateescape")))[2]


def test_endless_recursion_is_an_answer(worker):
    type_, _, message, traceback, _ = error(worker.fault("deep_recursion"))
    assert type_ == "RecursionError" and "maximum recursion depth" in message
    assert "more times" in traceback
    assert worker.value("echo", 1) == 1


def test_a_tiny_stack_is_survived(worker):
    assert worker.fault("tiny_stack", 40) == ("ok", None)
    assert worker.value("echo", (1, [krait.Atom("a")])) == (1, ["a"])
    assert worker.fault("deep_recursion")[:2] == ("error", "python")
    assert worker.fault("unencodable")[0] == "error"
    assert worker.value("echo", 1) == 1


def test_no_memory_is_an_answer(worker):
    assert error(worker.fault("no_memory"))[0] in ("MemoryError", "OverflowError")


def address_space(pid):
    """In bytes."""
    return int(open_text(f"/proc/{pid}/statm").split()[0]) * resource.getpagesize()


@pytest.mark.skipif(msgpack.Packer.__module__.endswith("fallback"), reason="msgpack without C takes minutes")
def test_no_memory_for_the_arguments_is_an_answer(worker):
    limit = address_space(worker.pid) + (1 << 28)  # enough for the frame, not for what is in it
    assert worker.call("resource", "setrlimit", resource.RLIMIT_AS, (limit, limit))[0] == "ok"
    call_id = next(worker.ids)
    head = b"\x97\x01" + msgpack.packb(call_id) + msgpack.packb("krait_faults") + msgpack.packb("echo")
    # 2^26 ones take 64 MB on the wire and 512 MB as a list.
    body = head + b"\x91\xdd\x04\x00\x00\x00" + b"\x01" * (1 << 26) + b"\x80\xc0"
    worker.sock.sendall(struct.pack(">I", len(body)) + body)
    assert error(worker.answer(call_id))[0] == "MemoryError"
    assert worker.value("echo", 1) == 1


def test_an_exception_of_a_class_without_a_module_is_told(worker):
    bare = "raise type('Bare', (Exception,), {})('why')"
    told = error(worker.call("builtins", "exec", bare, {}))
    assert told[:3] == ("Bare", "", "why")


def test_encode_errors_of_user_code_are_its_own(worker):
    kind, python, type_, *_ = worker.call("krait", "EncodeError.is_well_formed", 1)
    assert (kind, python, type_) == ("error", "python", "AttributeError")
    for kind in ("kind", "types", "long", "surrogate"):
        assert error(worker.fault("encode_error", kind))[:2] == ("EncodeError", "krait")
    assert worker.value("echo", 1) == 1


def test_a_call_knows_itself(worker):
    meta = {"traceparent": "00-ab-cd-01", "deadline_ms": 60_000}
    call_id = worker.cast("krait_faults", "current", meta=meta)
    _, (id_, module, function, trace, left) = worker.answer(call_id)
    assert (id_, module, function, trace) == (call_id, "krait_faults", "current", "00-ab-cd-01")
    assert 50 < left <= 60
    assert worker.value("current")[3:] == [None, None]
    assert krait.current_call() is None
    worker.fault("at_exit_current")
    assert worker.stop() == 0 and worker.read(worker.out) == b"None\n"


def test_output_arrives_before_the_answer(worker):
    for stream, fd in (("stdout", worker.out), ("stderr", worker.err)):
        assert worker.fault("print_", "no newline", stream, "") == ("ok", None)
        assert worker.read(fd) == b"no newline"
        assert worker.fault("print_", "\u20ac", stream) == ("ok", None)
        assert worker.read(fd) == "\u20ac\n".encode()


def test_a_flood_of_output_does_not_touch_the_answer(worker):
    call_id = worker.cast("krait_faults", "flood", 20_000, "stderr")
    lines = 0
    while not select.select([worker.sock], [], [], 0)[0] or select.select([worker.err], [], [], 0)[0]:
        select.select([worker.err, worker.sock], [], [])
        lines += worker.read(worker.err).count(b"\n")
    lines += worker.read(worker.err).count(b"\n")
    assert worker.answer(call_id) == ("ok", 20_000) and lines == 20_000


def test_streams_that_user_code_breaks_do_not_cost_the_answer(worker):
    assert worker.call("sys", "stdout.close")[0] == "ok"
    assert worker.value("echo", 1) == 1
    os.close(worker.err)
    worker.err = os.open(os.devnull, os.O_RDONLY)
    assert worker.fault("print_", "lost", "stderr")[0] in ("ok", "error")
    assert worker.value("echo", 1) == 1


def test_the_end_of_the_channel_ends_it_politely(worker):
    worker.fault("at_exit_print", "goodbye")
    worker.fault("print_", "partial", "stdout", "")
    assert worker.stop() == _exits.EXIT_OK
    assert worker.read(worker.out) == b"partialgoodbye\n"
    assert worker.read(worker.err) == b""


def test_the_environment_tells_pool_and_index():
    with Worker(pool="gpu") as worker:
        assert (worker.value("env", "KRAIT_POOL"), worker.value("env", "KRAIT_WORKER_INDEX")) == ("gpu", "0")


@pytest.mark.parametrize("attr", ["BrokenCounter", "NoSuch"])
def test_a_start_that_fails_says_why(attr):
    with Worker(expose=(("c", "krait_faults", attr),)) as worker:
        assert worker.hello is None
        assert worker.wait() == _exits.EXIT_START_FAILED
        told = worker.read(worker.err).decode()
        assert "Error: " in told and attr.replace("BrokenCounter", "the counter is broken") in told


BAD_FRAMES = {
    "not msgpack": b"\xc1",
    "empty": b"",
    "not an array": b"\x01",
    "empty array": b"\x90",
    "no id": b"\x91\x01",
    "another type": msgpack.packb([10, 1]),
    "a call that is too short": msgpack.packb([1, 1, "math", "sqrt"]),
    "cut off": msgpack.packb([1, 1, "math"])[:-1],
    "left over": msgpack.packb([2, 1]) + b"\x01",
    "an extension unknown": b"\x92\x02\xd4\x63\x00",
}


@pytest.mark.parametrize("body", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_what_is_no_frame_ends_it(worker, body):
    worker.sock.sendall(struct.pack(">I", len(body)) + body)
    assert worker.wait() == _exits.EXIT_BAD_FRAME
    assert b"no frame" in worker.read(worker.err)


def test_a_channel_cut_in_a_frame_is_lost(worker):
    worker.sock.sendall(b"\0\0\0\x10abc")
    assert worker.stop() == _exits.EXIT_CHANNEL_LOST
    assert b"channel to the node is lost" in worker.read(worker.err)


@pytest.mark.parametrize("function", ["close_channel", "close_fds"])
def test_a_channel_closed_by_user_code_is_lost(worker, function):
    worker.cast("krait_faults", function)
    assert worker.wait() == _exits.EXIT_CHANNEL_LOST


def test_a_node_that_vanishes_with_an_answer_on_its_way_is_a_lost_channel(worker):
    worker.cast("krait_faults", "slow", 0.05)
    worker.read_line(worker.out)
    worker.cast("krait_faults", "echo", 1)  # unread data makes the close a reset
    assert worker.stop() == _exits.EXIT_CHANNEL_LOST


def test_a_handler_that_raises_between_calls_is_told(worker):
    worker.fault("alarm_raises", 0.01)
    assert worker.wait() == _exits.EXIT_INTERNAL
    assert b"TimeoutError: too late" in worker.read(worker.err)


def test_garble_reaches_the_node_as_garbage(worker):
    worker.cast("krait_faults", "garble", b"\0\0\0\1\xc1")
    with pytest.raises(ValueError):
        worker.receive()


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGFPE", "SIGBUS", "SIGILL"])
def test_a_crash_leaves_a_stack_dump(worker, name):
    worker.cast("krait_faults", "crash", name)
    assert worker.wait() == -signal.Signals[name]
    told = worker.read(worker.err)
    assert b"krait_faults.py" in told and b" in crash" in told


def test_exit_is_the_statuss_own(worker):
    worker.cast("krait_faults", "exit", 7)
    assert worker.wait() == 7


# Children


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
        while not select.select([worker.out], [], [], 0.01)[0]:  # one may come just before it sleeps
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


def test_idle_it_holds_nothing_of_the_last_call(worker):
    before = rss(worker.pid)
    assert worker.call("krait_faults", "echo", [b"x" * 1_000_000] * 40)[0] == "ok"
    worker.send([2, 99])
    assert worker.receive() == [4, 99]
    grown = rss(worker.pid) - before
    assert grown < 40_000_000, f"{grown} bytes are still held"


def rss(pid: int) -> int:
    return int(open_text(f"/proc/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_call_is_not_charged_for_time_between(worker):
    began = time.monotonic()
    for i in range(200):
        assert worker.value("echo", i) == i
    assert time.monotonic() - began < 5


# The stack of an exception


def frames(answer):
    assert answer[:2] == ("error", "python")
    return answer[7]


def test_the_stack_is_told_frame_by_frame_the_innermost_first(worker):
    (innermost,) = frames(worker.fault("raise_with_args", 1))
    module, function, file, line = innermost
    assert (module, function, file) == ("krait_faults", "raise_with_args", krait_faults.__file__)
    assert open_text(file).splitlines()[line - 1].strip() == "raise ValueError(*args)"
    told = frames(worker.call("broken_import", "f"))
    assert [(frame[0], frame[1]) for frame in told] == [("broken_import", "<module>")]


def test_only_the_innermost_frames_are_told(worker):
    told = frames(worker.fault("deep_recursion"))
    assert len(told) == _failure.FRAMES_TOLD
    assert {(frame[0], frame[1]) for frame in told} == {("krait_faults", "deep_recursion")}


def test_an_exception_without_a_stack_has_no_frames(worker):
    assert frames(worker.fault("echo")) == []
