"""How much the kernel hurries to run this worker: less while its next call is always there already.

A process that wakes up takes the processor from whoever is at it: from the node that has just written a call and was
about to write the next one, or from the BEAM. That is right for a call that comes alone. For a worker that is kept busy
with short calls it means to run one call, to sleep, and to be woken again. Under SCHED_BATCH (sched(7)) it
waits until the processor is free, and finds several calls then. That is the only difference: its share of the time
is the same, and so is its niceness.

What can go wrong: the operator has chosen another policy for the node (it stays), or a sandbox refuses the system call
(then it is not asked for again).
"""

from __future__ import annotations

import os

_NORMAL, _BATCH = os.SCHED_OTHER, os.SCHED_BATCH


class Pace:
    """Of the thread that calls it, from the start of its process on."""

    __slots__ = ("_free", "_policy")

    def __init__(self) -> None:
        try:
            self._free = os.sched_getscheduler(0) == _NORMAL  # to change the policy
        except OSError:
            self._free = False
        self._policy = _NORMAL

    def steady(self) -> None:
        """One call comes after the other."""
        self._set(_BATCH)

    def single(self) -> None:
        """They come one at a time again."""
        self._set(_NORMAL)

    def _set(self, policy: int) -> None:
        if self._free and policy != self._policy:
            try:
                os.sched_setscheduler(0, policy, os.sched_param(0))
                self._policy = policy
            except OSError:
                self._free = False
