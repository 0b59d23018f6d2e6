"""Coroutine functions, for the suites of Krait. Put this folder on the workers' path."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import krait

tasks: list[asyncio.Task[Any]] = []


async def echo(x: Any) -> Any:
    await asyncio.sleep(0)
    return x


class Later:
    """An object that can be awaited."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self.value


def later(value: Any) -> Any:
    return Later(value)


def as_value(x: Any) -> Any:
    """An awaitable within a value is no term."""
    return [Later(x)]


async def raises() -> Any:
    await asyncio.sleep(0)
    raise ValueError("async")


async def current() -> Any:
    await asyncio.sleep(0)
    call = krait.current_call()
    assert call is not None
    return [call.id, call.function, call.traceparent, call.remaining()]


async def loop_id() -> int:
    return id(asyncio.get_running_loop())


async def sleep() -> None:
    try:
        print("begun", flush=True)
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
    finally:
        print("finally", flush=True)


async def stubborn() -> str:
    print("begun", flush=True)
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return "survived"
    return "slept"


async def busy() -> None:
    """Never awaits."""
    print("begun", flush=True)
    while True:
        pass


async def blocks() -> None:
    """Waits in C, where the loop cannot."""
    print("begun", flush=True)
    time.sleep(3600)


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def leaves_a_task() -> None:
    ticks.clear()
    tasks.append(asyncio.ensure_future(tick()))
    await asyncio.sleep(0)


ticks: list[Any] = []


async def tick() -> None:
    try:
        while True:
            ticks.append(krait.current_call() is not None)
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        print("task cancelled", flush=True)
        raise


async def ticked() -> Any:
    for _ in range(3):
        await asyncio.sleep(0)
    return [len(ticks), ticks[-1]]
