"""A worker that waits for its next call sleeps until there is one."""

from __future__ import annotations

import re

from support import open_text

CALLS = 50


def asleep(pid):
    """Waits until it sleeps; how often it has gone to sleep by itself until now."""
    while open_text(f"/proc/{pid}/syscall").startswith("running"):
        pass
    (times,) = re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", open_text(f"/proc/{pid}/status"), re.M)
    return int(times)


def test_a_worker_does_not_wake_up_when_the_node_reads_its_answer(worker):
    assert worker.value("echo", 0) == 0
    before = asleep(worker.pid)
    for n in range(CALLS):
        id_ = worker.cast("krait_faults", "echo", n)
        while asleep(worker.pid) == before + n:  # until it has taken the call, and sleeps again
            pass
        assert worker.receive() == [2, id_, n]
    assert asleep(worker.pid) == before + CALLS
