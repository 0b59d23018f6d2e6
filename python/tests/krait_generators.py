"""Streams that behave, and some that do not, for the suites of Krait."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn

import krait
import krait_faults
import msgpack


def count(n: int, start: int = 0) -> Iterator[int]:
    yield from range(start, start + n)


def rows(n: int) -> Iterator[Any]:
    """Small items as an application has them."""
    for i in range(n):
        yield {"id": i, "name": "krait", "values": [1, 2, 3]}


def blocks(n: int, size: int) -> Iterator[bytes]:
    """Large items, each its own object."""
    for i in range(n):
        yield i.to_bytes(8, "big") * (size // 8)


async def count_async(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


def told(n: int, then: str = "end") -> Iterator[int]:
    """Prints what happens to it: "resumed 0", ..., "closed"."""
    try:
        for i in range(n):
            print(f"resumed {i}", flush=True)
            yield i
        if then == "raise":
            raise ValueError("spoilt", n)
        if then == "exit":
            os._exit(3)
        if then == "hang":
            while True:
                pass
    finally:
        print("closed", flush=True)


def forever() -> Iterator[int]:
    """Prints only its end."""
    i = 0
    try:
        while True:
            yield i
            i += 1
    finally:
        print("closed", flush=True)


def slow(n: int, seconds: float) -> Iterator[int]:
    for i in range(n):
        time.sleep(seconds)
        yield i


def slow_open(seconds: float) -> Iterator[int]:
    """Takes its time before there is anything to iterate over."""
    print("begun", flush=True)
    time.sleep(seconds)
    return iter([1])


def spoilt(at: int) -> Iterator[Any]:
    """One item has no term."""
    try:
        for i in range(at):
            yield i
        yield {"good": 1, "bad": [0, krait_faults.Unencodable()]}
        yield "never sent"
    finally:
        print("closed", flush=True)


def twice(at: int) -> Iterator[Any]:
    """An item whose keys become the same term: the node finds that, not Python."""
    try:
        for i in range(at):
            yield i
        yield {"good": [{"a": 1, b"a": 2}]}
        while True:
            yield "on its way already"
    finally:
        print("closed", flush=True)


def bad_finally() -> Iterator[int]:
    try:
        while True:
            yield 1
    finally:
        raise RuntimeError("the finally has failed")


def stubborn(how: str) -> Iterator[int]:
    """Does not let itself be closed."""
    try:
        while True:
            yield 1
    finally:
        print("closing", flush=True)
        while how == "hang":
            try:
                time.sleep(3600)
            except KeyboardInterrupt:
                pass
        while how == "yield":
            yield 2  # RuntimeError: generator ignored GeneratorExit


def stands_still() -> Iterator[int]:
    """In the middle of its second item."""
    try:
        yield 1
        print("begun", flush=True)
        time.sleep(3600)
    finally:
        print("closed", flush=True)


async def awaits() -> AsyncIterator[int]:
    try:
        yield 1
        print("begun", flush=True)
        await asyncio.sleep(3600)
    finally:
        print("closed", flush=True)


def calls(dest: Any) -> Iterator[int]:
    try:
        yield 1
        print("begun", flush=True)
        krait.call(dest, "and then?", timeout=None)
    finally:
        print("closed", flush=True)


def grows(size: int, n: int = 1 << 62) -> Iterator[bytes]:
    """Ten thousand small items, then large ones."""
    for i in range(n):
        yield b"\1" * (size if i >= 10_000 else 1)


def not_iterable() -> int:
    return 42


def fails() -> NoReturn:
    raise KeyError("nothing to iterate over")


# ---- workers that break the protocol ----

_RESULT, _ERROR, _PONG, _OPENED, _ITEM = 2, 3, 4, 5, 6


def _write(*frames: list[Any]) -> None:
    packed = [msgpack.packb(frame) for frame in frames]
    krait_faults.garble(b"".join(len(p).to_bytes(4, "big") + p for p in packed))


def _id() -> int:
    import krait

    call = krait.current_call()
    assert call is not None
    return call.id


def floods(n: int) -> Iterator[int]:
    """Sends more than was asked for."""
    yield 0
    _write(*[[_ITEM, _id(), i] for i in range(n)])
    yield 1
    while True:
        time.sleep(1)


def strays() -> Iterator[int]:
    """Sends items of streams that are not its own, or not at all, and openings likewise."""
    yield 0
    for other in (0, 1, 999, 1000, _id() - 1, _id() + 1, 2**63, 2**64 - 1):
        _write([_ITEM, other, "stray"], [_OPENED, other], [_OPENED, _id()])
    yield 1


def stray_to(other: int) -> None:
    """Items and openings for somebody else's stream, from a worker that does not run it."""
    _write([_OPENED, other], *[[_ITEM, other, "stray"] for _ in range(1000)])


def bad_item(kind: str) -> Iterator[int]:
    """An item that is not in the protocol."""
    yield 0
    call_id = _id()
    if kind == "two":
        _write([_ITEM, call_id, 1, 2])
    elif kind == "none":
        _write([_ITEM, call_id])
    elif kind == "corrupt":
        body = b"\x93\x06\xcf" + call_id.to_bytes(8, "big") + b"\xdd\xff\xff\xff\xff"
        krait_faults.garble(len(body).to_bytes(4, "big") + body)
    elif kind == "atom":
        _write([_ITEM, call_id, msgpack.ExtType(1, b"\xff")])
    yield 1
    while True:
        time.sleep(1)


def never_opened(kind: str) -> list[int]:
    """Answers for itself: no opening comes before the end."""
    _write([{"result": _RESULT, "pong": _PONG}[kind], _id()] + ([7] if kind == "result" else []))
    return [1]


def early() -> Iterator[int]:
    """An item before the opening."""
    _write([_ITEM, _id(), "early"])
    return iter([1, 2])


def stream_id() -> Iterator[int]:
    """Its own id in the protocol, then nothing more until it is closed."""
    yield _id()
    yield 0
