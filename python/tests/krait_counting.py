"""What the suites keep in sessions: a counter, and who was there. To be preloaded, for its hooks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import krait


@krait.on_session_start
def _started(session: krait.Session) -> None:
    session["started"] = session.get("started", 0) + 1


@krait.on_session_end
def _ended(session: krait.Session) -> None:
    """A line that the node logs: the worker has no other way to tell of it."""
    print(f"session {session.id} ended at {session.get('n', 0)}", flush=True)


def count() -> int:
    """How often this was called in this session."""
    session = krait.session()
    session["n"] = session.get("n", 0) + 1
    return session["n"]


def counts(items: int) -> Iterator[int]:
    """As so many count(), one an item."""
    for _ in range(items):
        yield count()


def where() -> tuple[int, int]:
    """As count(), and in which process."""
    return count(), os.getpid()


def counted_after(seconds: float) -> int:
    """As count(), but it takes its time: first the state, then the wait."""
    n = count()
    print("begun", flush=True)
    time.sleep(seconds)
    return n


def name() -> Any:
    """The session's id as Python sees it."""
    return krait.session().id


def starts() -> int:
    """How often the start hook ran for this session."""
    return krait.session()["started"]


def in_session() -> bool:
    """Whether this call belongs to a session."""
    try:
        krait.session()
    except LookupError:
        return False
    return True


def crash() -> None:
    """Ends the worker in the call."""
    os._exit(7)


def left_ms() -> float | None:
    """Milliseconds that the call has left; None: no time limit."""
    call = krait.current_call()
    left = None if call is None else call.remaining()
    return None if left is None else left * 1000


def hold(seconds: float) -> tuple[int, int]:
    """Takes a slot for a while: (process, thread)."""
    print("begun", flush=True)
    time.sleep(seconds)
    return os.getpid(), threading.get_ident()
