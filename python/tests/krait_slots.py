"""Functions for workers with several slots. They meet each other, so that none of them can have run alone.
Put this folder on the workers' path."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from typing import Any

import krait

barriers: dict[str, threading.Barrier] = {}
events: dict[str, threading.Event] = {}
lock = threading.Lock()


def meet(name: str, parties: int, value: Any = None) -> Any:
    """Returns when so many calls are here."""
    with lock:
        barrier = barriers.setdefault(name, threading.Barrier(parties))
    barrier.wait(20)
    call = krait.current_call()
    assert call is not None
    return [value, call.id]


def event(name: str) -> threading.Event:
    with lock:
        return events.setdefault(name, threading.Event())


def wait_for(name: str) -> str:
    print(f"waiting {name}", flush=True)
    assert event(name).wait(20)
    return name


def signal(name: str) -> None:
    event(name).set()


async def wait_async(name: str) -> str:
    print(f"waiting {name}", flush=True)
    while not event(name).is_set():
        await asyncio.sleep(0.001)
    return name


async def sleep() -> None:
    try:
        print("begun", flush=True)
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise


async def block(name: str) -> None:
    """Keeps the loop from running."""
    print("begun", flush=True)
    event(name).wait(20)


def busy() -> None:
    try:
        print("begun", flush=True)
        while True:
            pass
    except krait.Interrupted:
        print("interrupted", flush=True)
        raise


def survives() -> str:
    try:
        print("begun", flush=True)
        while True:
            pass
    except krait.Interrupted:
        return "survived"


def short_sleeps() -> None:
    """Waits in C, a little at a time."""
    print("begun", flush=True)
    while True:
        time.sleep(0.001)


def spin(rounds: int) -> int:
    """A short while of Python code."""
    for _ in range(rounds):
        pass
    return rounds


def thread_names() -> Any:
    return sorted(thread.name for thread in threading.enumerate())


def in_thread_of_its_own() -> Any:
    """Outside of the call, unless the context is passed on."""
    found: list[Any] = []
    plain = threading.Thread(target=lambda: found.append(krait.current_call() is not None))
    context = contextvars.copy_context()
    passed = threading.Thread(target=lambda: found.append(context.run(krait.current_call) is not None))
    for thread in (plain, passed):
        thread.start()
        thread.join()
    return found


def switch_often() -> None:
    sys.setswitchinterval(1e-6)
