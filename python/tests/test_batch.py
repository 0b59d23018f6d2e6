"""Many calls in one."""

from __future__ import annotations

import os
import signal

import pytest
from support import Worker

from krait import _exits


def batch(worker, *calls, meta=None):
    call_id = next(worker.ids)
    worker.send([6, call_id, [[module, function, list(args), {}] for module, function, *args in calls], meta])
    return call_id


def outcome(worker, *calls, meta=None):
    return worker.answer(batch(worker, *calls, meta=meta))


F = "krait_faults"


def test_each_has_its_outcome_and_one_that_fails_stops_no_other(worker):
    kind, outcomes = outcome(
        worker,
        ("math", "sqrt", 4.0),
        (F, "raise_with_args", 1),
        ("no_such_module_", "f"),
        (F, "_private"),
        (F, "unencodable"),
        (F, "sys_exit"),
        ("krait_async", "echo", "x"),
        (F, "echo", ({"a": b"b"},)),
    )
    assert kind == "ok"
    assert outcomes[0] == [True, 2.0]
    assert outcomes[1][:5] == [False, "python", "ValueError", "builtins", "1"] and len(outcomes[1]) == 8
    assert outcomes[2] == [False, "no_function"]
    assert outcomes[3] == [False, "not_allowed"]
    assert outcomes[4] == [False, "unencodable", "result.a[1][1]", "krait_faults.Unencodable"]
    assert outcomes[5][:3] == [False, "python", "SystemExit"]
    assert outcomes[6] == [True, "x"]
    assert outcomes[7] == [True, ({"a": b"b"},)]


def test_an_empty_batch_has_no_outcomes(worker):
    assert outcome(worker) == ("ok", [])


def test_a_long_batch(worker):
    assert outcome(worker, *((F, "echo", i) for i in range(70_000))) == ("ok", [[True, i] for i in range(70_000)])


def test_each_knows_the_batchs_id_and_its_own_name(worker):
    call_id = batch(worker, (F, "current"), ("krait_async", "current"), meta={"traceparent": "t", "deadline_ms": 9000})
    _, ((_, first), (_, second)) = worker.answer(call_id)
    assert first[:4] == [call_id, F, "current", "t"] and 5 < first[4] <= 9
    assert second[:3] == [call_id, "current", "t"]
    assert worker.value("current")[2] == "current"


def test_it_may_belong_to_a_session(worker):
    meta = {"session": [1, "a"]}
    incr = ("krait_sessions", "incr")
    assert outcome(worker, incr, incr, meta=meta) == ("ok", [[True, 1], [True, 2]])
    assert outcome(worker, incr, meta=meta) == ("ok", [[True, 3]])
    assert worker.read(worker.out) == b"start a\n"
    answer = outcome(worker, incr, meta={"session": [2, "broken"]})
    assert answer[:3] == ("error", "python", "ValueError")


def test_an_interrupt_ends_all_of_it(worker):
    call_id = batch(worker, (F, "echo", 1), (F, "hang"), (F, "echo", 2))
    worker.read_line(worker.out)
    worker.send([3, call_id])
    os.kill(worker.pid, signal.SIGINT)
    assert worker.answer(call_id)[:3] == ("error", "python", "KeyboardInterrupt")
    assert worker.value("echo", 1) == 1


def test_an_interrupt_that_came_early_ends_all_of_it(worker):
    os.kill(worker.pid, signal.SIGSTOP)
    call_id = batch(worker, (F, "hang"))
    worker.send([3, call_id])
    os.kill(worker.pid, signal.SIGINT)
    os.kill(worker.pid, signal.SIGCONT)
    assert worker.answer(call_id)[:3] == ("error", "python", "KeyboardInterrupt")


def test_outcomes_that_are_too_large_together_are_an_error():
    with Worker(max_result_bytes=1000) as worker:
        kind, what, size, limit = outcome(worker, *[(F, "huge", 400)] * 3)
        assert (kind, what, limit) == ("error", "too_large", 1000) and size > 1200
        assert outcome(worker, (F, "huge", 2000)) == ("ok", [[False, "too_large", 2003, 1000]])


@pytest.mark.parametrize("calls", ["x", [["m", "f", []]], [["m", "f", {}, {}]], [[1, "f", [], {}]], [{}]], ids=repr)
def test_a_malformed_batch_is_no_frame(worker, calls):
    worker.send([6, 1, calls, None])
    assert worker.wait() == _exits.EXIT_BAD_FRAME
