"""What krait_stress calls in the workers: streams whose generators are counted, and sessions that count.

Every item and every answer carries the nonce of its request. A generator counts itself as opened when it
is first resumed and as closed when its `finally` runs; a session as begun at its first step and as ended
in its hook. When nothing runs any more both pairs must be equal in every worker that lives.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import krait

_HOUR = 3600.0

_lock = threading.Lock()
_counts = {"opened": 0, "closed": 0, "begun": 0, "ended": 0}


def _count(what: str) -> None:
    with _lock:
        _counts[what] += 1


def counts() -> tuple[int, int, int, int, int]:
    """Of this worker: generators opened and closed, sessions begun and ended, its pid."""
    with _lock:
        return (*_counts.values(), os.getpid())


# ---- streams ----


def items(nonce: int, count: int, payload: Any, how: str) -> Iterator[Any]:
    """`count` items, then what `how` says."""
    _count("opened")
    try:
        for index in range(count):
            yield (nonce, index, payload)
        if how == "raises":
            raise ValueError(f"no item: {nonce}")
        if how == "no_term":
            yield {"a": [object()]}
        if how == "stuck":
            time.sleep(_HOUR)
    finally:
        _count("closed")
        if how == "stubborn":
            time.sleep(_HOUR)
        if how == "untidy":
            raise ValueError(f"untidy: {nonce}")


async def items_async(nonce: int, count: int, payload: Any, how: str) -> AsyncIterator[Any]:
    """The same, by `async for`."""
    _count("opened")
    try:
        for index in range(count):
            yield (nonce, index, payload)
        if how == "raises":
            raise ValueError(f"no item: {nonce}")
    finally:
        _count("closed")
        if how == "untidy":
            raise ValueError(f"untidy: {nonce}")


def listed(nonce: int, count: int, payload: Any, how: str) -> list[Any]:
    """A list: anything that can be iterated over makes a stream."""
    return [(nonce, index, payload) for index in range(count)]


def no_items(nonce: int, count: int, payload: Any, how: str) -> int:
    """Nothing to iterate over; or, if it raises, not even that."""
    if how == "raises":
        raise ValueError(f"no stream: {nonce}")
    return nonce


# ---- sessions ----


@krait.on_session_end
def _ended(session: krait.Session) -> None:
    if "epoch" in session:
        _count("ended")


def step(nonce: int, seconds: float) -> tuple[int, Any, int, int]:
    """One more call of this session: which session this is, which life of it, and how many calls that
    has seen."""
    session = krait.session()
    with _lock:  # with slots, calls of one session run at once
        if "epoch" not in session:
            session["epoch"] = int.from_bytes(os.urandom(7), "big") + 1
            session["count"] = 0
            _counts["begun"] += 1
        session["count"] += 1
        count = session["count"]
    if seconds > 0:
        time.sleep(seconds)
    return (nonce, session.id, session["epoch"], count)
