"""Functions that call back: what callbacks_test.exs makes workers do."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Callable, Iterable, Optional

import krait
from krait import _context

Timeout = Optional[float]


def _outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What became of it, as a term."""
    try:
        return (krait.Atom("ok"), function(*args))
    except krait.Exit as error:
        return (krait.Atom("exit"), error.reason)
    except krait.Timeout:
        return krait.Atom("timeout")
    except RuntimeError as error:
        return (krait.Atom("refused"), str(error))


def call(dest: Any, request: Any, timeout: Timeout = 5.0) -> Any:
    return krait.call(dest, request, timeout)


def call_late(seconds: float, dest: Any, request: Any) -> Any:
    time.sleep(seconds)
    return call(dest, request, None)


def outcome(dest: Any, request: Any, timeout: Timeout = 5.0) -> Any:
    return _outcome(krait.call, dest, request, timeout)


def call_with_pid(dest: Any, request: Any) -> Any:
    return os.getpid(), krait.call(dest, request, None)


def told(dest: Any, request: Any) -> Any:
    """As `outcome`, printed: for calls whose answer nobody hears."""
    result = _outcome(krait.call, dest, request, None)
    print(f"told: {result[0] if isinstance(result, tuple) else result}", flush=True)
    return result


def rpc(module: str, function: str, args: Any, node: Optional[str] = None, timeout: Timeout = 5.0) -> Any:
    return _outcome(krait.rpc, module, function, args, timeout, node)


def send(dest: Any, terms: list[Any]) -> int:
    for term in terms:
        krait.send(dest, term)
    return len(terms)


def flood(dest: Any, count: int, size: int) -> str:
    payload = b"x" * size
    for n in range(count):
        krait.send(dest, (n, payload))
    return "flooded"


def watch(dest: Any, ready: Any, timeout: Timeout = 10.0) -> Any:
    """The reason that a process ended for; `ready` is told when it is watched."""
    monitor = krait.monitor(dest)
    krait.send(ready, krait.Atom("watched"))
    return monitor.wait(timeout)


def watch_no_more(dest: Any, then: Any) -> Any:
    monitor = krait.monitor(dest)
    monitor.cancel()
    return krait.call(*then)


def watch_many(dest: Any, count: int) -> Any:
    """How many of them are up; the reason of the first that is not."""
    monitors = [krait.monitor(dest) for _ in range(count)]
    krait.call(dest, (krait.Atom("echo"), 1))
    down = [monitor.reason for monitor in monitors if monitor.is_down]
    return len(monitors) - len(down), down[:1]


def watch_too_many(dest: Any, count: int) -> Any:
    """As watch_many, when the last one is known to be refused."""
    monitors = [krait.monitor(dest) for _ in range(count)]
    monitors[-1].wait(10)
    down = [monitor.reason for monitor in monitors if monitor.is_down]
    return len(monitors) - len(down), down[:1]


async def gather(dest: Any, terms: list[Any]) -> list[Any]:
    calls = (krait.call(dest, (krait.Atom("echo"), term)) for term in terms)
    return list(await asyncio.gather(*calls))


async def outcomes(dest: Any, count: int, timeout: Timeout) -> dict[str, int]:
    """How often each outcome came, of as many calls at once; `dest` is told when all have been made."""
    request = (krait.Atom("hold"), 0)
    calls = [asyncio.ensure_future(krait.call(dest, request, timeout)) for _ in range(count)]
    await asyncio.sleep(0)
    krait.send(dest, krait.Atom("all"))
    results = await asyncio.gather(*calls, return_exceptions=True)
    counts: dict[str, int] = {}
    for result in results:
        counts[type(result).__name__] = counts.get(type(result).__name__, 0) + 1
    return counts


async def first(dests: list[Any]) -> Any:
    """The first answer; the other calls are cancelled."""
    request = (krait.Atom("hold"), krait.Atom("first"))
    calls = [asyncio.ensure_future(krait.call(dest, request, 20)) for dest in dests]
    done, late = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for other in late:
        other.cancel()
    return done.pop().result()


def nest(callee: Any, pool: Any, depth: int, session: str) -> list[Any]:
    """Has the callee call this function again, in the same session, until the depth is 1."""
    if depth == 1:
        return [1]
    args = [callee, pool, depth - 1, session]
    name, here = krait.Atom("session"), krait.Atom("krait_back")
    request = (krait.Atom("call"), here, krait.Atom("nest"), args, {name: session})
    kind, inner = krait.call(callee, (krait.Atom("ask_aside"), pool, request), None)
    return [depth, *inner] if kind == "ok" else [kind, inner]


def progress(reports: list[Any], result: Any = None) -> Any:
    for report in reports:
        krait.progress(report)
    return result


def progress_flood(count: int, size: int) -> str:
    for _ in range(count):
        krait.progress(b"x" * size)
    return "flooded"


def items(source: Iterable[Any], ahead: Optional[int] = None) -> Any:
    if ahead is not None:
        source.ahead = ahead  # type: ignore[attr-defined]
    return _outcome(list, source)


def kind(value: Any) -> str:
    return type(value).__name__


def raw(*frame: Any) -> Any:
    """Says to the node what no library would, then waits to be told off."""
    engine = _context.engine
    assert engine is not None
    engine.send(engine.answers.plain(*frame))
    return engine


def raw_frames(frames: list[list[Any]], mine: int = 2) -> str:
    """Frames as they are; the word "id" in place `mine` stands for the id of this call."""
    scope = _context.current()
    assert scope is not None
    for frame in frames:
        raw(*(scope.id if part == "id" else part for part in frame))
    return "said"


def raw_duplicate(dest: Any) -> str:
    """Two calls of one id."""
    frame = [7, 77, "id", "call", dest, (krait.Atom("hold"), 0), None]
    return raw_frames([frame, frame])
