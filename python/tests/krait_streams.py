"""Functions whose results are streams, for the suites of Krait. Put this folder on the workers' path.

Those that a test must observe print a line: "closed" when their `finally` ran.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import krait


def numbers(count: int, start: int = 0) -> Iterator[int]:
    yield from range(start, start + count)


def watched(count: int) -> Iterator[int]:
    """Prints each number before it is yielded, and "closed" at the end."""
    try:
        for i in range(count):
            print(i, flush=True)
            yield i
    finally:
        print("closed", flush=True)


def endless(size: int | None = None) -> Iterator[Any]:
    try:
        i = 0
        while True:
            yield i if size is None else b"\x01" * size
            i += 1
    finally:
        print("closed", flush=True)


def fails_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise ValueError("enough")


def has_no_term(count: int = 0) -> Iterator[Any]:
    try:
        yield from range(count)
        yield {"a": [object()]}
    finally:
        print("closed", flush=True)


def raises_in_finally() -> Iterator[int]:
    try:
        yield 1
        yield 2
    finally:
        raise OSError("cannot close")


def ignores_close() -> Iterator[int]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            pass


def hangs_after(count: int) -> Iterator[int]:
    try:
        yield from range(count)
        print("begun", flush=True)
        while True:
            pass
    finally:
        print("closed", flush=True)


def asks(dest: krait.Pid) -> Iterator[int]:
    """Waits for a process in the middle of its second item, and prints what ends that."""
    try:
        yield 1
        krait.call(dest, "next", timeout=None)
    except BaseException as error:
        print(type(error).__name__, flush=True)
        raise


async def async_asks(dest: krait.Pid) -> AsyncIterator[int]:
    try:
        yield 1
        await krait.call(dest, "next", timeout=None)
    except BaseException as error:
        print(type(error).__name__, flush=True)
        raise


def asks_and_goes_on(dest: krait.Pid) -> Iterator[int]:
    yield 1
    try:
        krait.call(dest, "next", timeout=None)
    except GeneratorExit:
        krait.call(dest, "last words", timeout=None)
        print("told", flush=True)


def beside_a_thread(dest: krait.Pid, count: int) -> Iterator[int]:
    """A thread waits for a process all the while."""
    threading.Thread(target=_waits, args=(dest,), daemon=True).start()
    yield from range(count)


def _waits(dest: krait.Pid) -> None:
    try:
        krait.call(dest, "for ever", timeout=None)
    except RuntimeError:  # the stream has ended
        pass


def swallows_interrupt() -> Iterator[str]:
    try:
        print("begun", flush=True)
        while True:
            pass
    except KeyboardInterrupt:
        yield "survived"


def given(value: Any) -> Any:
    """Its argument, to be iterated over."""
    return value


def an_iterator() -> Any:
    return iter([1, 2, 3])


class Letters:
    """Iterable, not an iterator."""

    def __iter__(self) -> Iterator[str]:
        yield "a"
        yield "b"


def an_iterable() -> Any:
    return Letters()


class BrokenIterable:
    """Its __iter__ raises."""

    def __iter__(self) -> Iterator[str]:
        raise TypeError("not today")


def a_broken_iterable() -> Any:
    return BrokenIterable()


def raises_at_once() -> Any:
    raise ValueError("no stream")


def about_itself() -> Iterator[Any]:
    for _ in range(2):
        call = krait.current_call()
        assert call is not None
        yield [call.id, call.function, krait.session().id]


async def async_numbers(count: int) -> AsyncIterator[int]:
    try:
        for i in range(count):
            await asyncio.sleep(0)
            yield i
    finally:
        await asyncio.sleep(0)
        print("closed", flush=True)


async def async_watched(count: int) -> AsyncIterator[int]:
    try:
        for i in range(count):
            print(i, flush=True)
            yield i
    finally:
        print("closed", flush=True)


async def async_fails() -> AsyncIterator[int]:
    yield 1
    raise ValueError("enough")


async def async_no_term() -> AsyncIterator[Any]:
    try:
        yield object()
    finally:
        print("closed", flush=True)


async def async_sleeps() -> AsyncIterator[int]:
    try:
        yield 0
        print("begun", flush=True)
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
    finally:
        print("closed", flush=True)


async def async_ignores_close() -> AsyncIterator[int]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            pass


async def awaited_generator(count: int) -> Any:
    await asyncio.sleep(0)
    return numbers(count)


async def awaited_async_generator(count: int) -> Any:
    await asyncio.sleep(0)
    return async_numbers(count)


def peak_rss() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)


class Closable:
    """An iterator that only close() closes."""

    def __iter__(self) -> Closable:
        return self

    def __next__(self) -> Any:
        return object()

    def close(self) -> None:
        print("closed", flush=True)


def closable() -> Any:
    return Closable()


async def awaited_watched(count: int) -> Any:
    await asyncio.sleep(0)
    return watched(count)
