"""What lasts from call to call."""

from __future__ import annotations

import os
import signal

import pytest
from support import Worker

import krait
from krait import _exits


class Name:
    """A session as the node has it."""

    def __init__(self, worker, token, id_):
        self.worker, self.meta = worker, {"session": [token, id_]}
        self.token = token

    def call(self, function, *args, module="krait_sessions", **meta):
        return self.worker.call(module, function, *args, meta={**self.meta, **meta})

    def end(self):
        self.worker.send([8, 99, self.token])
        assert self.worker.receive() == [4, 99]
        return self.worker.read(self.worker.out).decode()


def test_it_lasts_from_call_to_call(worker):
    a, b = Name(worker, 1, "a"), Name(worker, 2, ("b", 1))
    assert [a.call("incr"), a.call("incr"), b.call("incr", 5), a.call("incr")] == [("ok", n) for n in (1, 2, 5, 3)]
    assert b.call("content") == ("ok", [("b", 1), {"started": 2, "count": 5}])


def test_start_hooks_run_once_before_the_first_call(worker):
    a = Name(worker, 1, "a")
    assert a.call("content") == ("ok", ["a", {"started": 2}])
    assert a.call("content") == ("ok", ["a", {"started": 2}])
    assert worker.read(worker.out) == b"start a\n"


def test_end_hooks_run_at_the_end_the_last_first_and_then_it_is_another(worker):
    a = Name(worker, 1, "a")
    a.call("incr")
    worker.read(worker.out)
    assert a.end() == "ending a\nend a 1\n"
    again = Name(worker, 2, "a")
    assert again.call("incr") == ("ok", 1)


def test_the_end_of_a_session_that_is_not_known_is_just_answered(worker):
    assert Name(worker, 1, "a").end() == ""


def test_a_start_that_raises_is_the_calls_error_and_tried_again(worker):
    broken = Name(worker, 1, "broken")
    for _ in range(2):
        kind, python, type_, _, message, *_ = broken.call("incr")
        assert (kind, python, type_, message) == ("error", "python", "ValueError", "no start")
    assert worker.read(worker.out) == b"start broken\nstart broken\n"
    assert broken.end() == ""


def test_a_start_that_is_interrupted_has_not_been(worker):
    slow = Name(worker, 1, "slow")
    worker.call("krait_sessions", "no_session")
    call_id = worker.cast("krait_sessions", "incr", meta=slow.meta)
    assert worker.read_line(worker.out) == b"start slow\n"
    worker.send([3, call_id])
    os.kill(worker.pid, signal.SIGINT)
    assert worker.answer(call_id)[2] == "KeyboardInterrupt"
    assert slow.end() == ""


def test_an_end_that_raises_is_told_and_the_others_run(worker):
    untidy = Name(worker, 1, "untidy")
    untidy.call("incr")
    worker.read(worker.out)
    assert untidy.end() == "ending untidy\nend untidy 1\n"
    assert b"ValueError: no end" in worker.read(worker.err)


def test_the_workers_end_is_its_sessions_end_and_before_exit_handlers(worker):
    for token, id_ in ((1, "a"), (2, "b")):
        Name(worker, token, id_).call("incr")
    worker.call("krait_sessions", "at_exit")
    worker.read(worker.out)
    assert worker.stop() == _exits.EXIT_OK
    assert worker.read(worker.out).decode() == "ending b\nend b 1\nending a\nend a 1\natexit\n"
    assert worker.read(worker.err) == b""


def test_outside_of_a_session_there_is_none(worker):
    assert worker.call("krait_sessions", "no_session") == ("ok", "this call belongs to no session")
    Name(worker, 1, "a").call("incr")
    assert worker.call("krait_sessions", "no_session") == ("ok", "this call belongs to no session")
    with pytest.raises(LookupError):
        krait.session()


def test_a_session_is_a_mapping():
    session = krait.Session("a")
    session["k"] = 1
    session.update(l=2)
    assert dict(session) == {"k": 1, "l": 2} and len(session) == 2 and "k" in session
    del session["k"]
    assert session.pop("l") == 2 and bool(session) and session.id == "a"
    assert repr(session) == "<krait.Session 'a' {}>"


def test_hooks_are_functions():
    for register in (krait.on_session_start, krait.on_session_end):
        with pytest.raises(TypeError, match="got 1"):
            register(1)


@pytest.mark.parametrize("session", ["a", [1], ["a", "b"], [1, "a", 2]])
def test_a_malformed_session_is_no_frame(worker, session):
    worker.cast("krait_sessions", "incr", meta={"session": session})
    assert worker.wait() == _exits.EXIT_BAD_FRAME


def test_a_session_does_not_keep_what_ends():
    with Worker() as worker:
        for token in range(1, 50):
            session = Name(worker, token, "a")
            assert session.call("put", "x", b"x" * 1_000_000) == ("ok", None)
            session.end()
        assert worker.call("krait_streams", "peak_rss")[1] < 200_000_000
