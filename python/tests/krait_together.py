"""Calls that share a worker, for the suites of Krait: those that meet, those that are cancelled alone."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import krait

ended: list[str] = []  # how those that were cancelled ended
_lock = threading.Lock()
_barriers: dict[tuple[str, int], threading.Barrier] = {}
_arrived: dict[tuple[str, int], int] = {}


def meet(name: str, parties: int) -> tuple[int, int]:
    """Returns when so many calls of that name are in here at once: (process, thread)."""
    with _lock:
        barrier = _barriers.setdefault((name, parties), threading.Barrier(parties))
    barrier.wait(20)
    return os.getpid(), threading.get_ident()


async def meet_async(name: str, parties: int) -> tuple[int, int]:
    """As meet(), for coroutines."""
    key = (name, parties)
    _arrived[key] = _arrived.get(key, 0) + 1
    for _ in range(20_000):
        if _arrived[key] >= parties:
            return os.getpid(), threading.get_ident()
        await asyncio.sleep(0.001)
    raise TimeoutError("nobody came")


def spin(name: str) -> None:
    """Runs until it is told to stop, in Python code; then notes how it ended."""
    try:
        print(f"begun {name}", flush=True)
        while True:
            time.sleep(0.001)
    except BaseException as error:
        ended.append(f"{name} {type(error).__name__}")
        raise


async def wait(name: str) -> None:
    """As spin(), awaiting."""
    try:
        print(f"begun {name}", flush=True)
        await asyncio.sleep(600)
    except BaseException as error:
        ended.append(f"{name} {type(error).__name__}")
        raise


def how_ended() -> list[str]:
    """What spin() and wait() noted in this process."""
    return sorted(ended)


def stuck(seconds: float) -> None:
    """One long call of C, which no exception reaches."""
    print("begun stuck", flush=True)
    time.sleep(seconds)


def crash() -> None:
    """Ends the worker, with all that it holds."""
    os._exit(9)


def say(text: str) -> None:
    """Prints a line."""
    print(text, flush=True)


def add(value: int) -> int:
    """A session's sum; without a lock, for its calls may run beside each other only if they await."""
    session = krait.session()
    session["sum"] = session.get("sum", 0) + value
    return session["sum"]


def call_id() -> Any:
    """The id of the running call."""
    call = krait.current_call()
    return None if call is None else call.id
