"""Calls back: from Python code to the processes of the cluster.

    krait.call() -> CALLBACK -> node -> process -> node -> REPLY -> the value, or an exception

Each is on behalf of the call that runs: its deadline is theirs, and when it ends, so does what is still
waited for. Plain code waits; code that an event loop runs gets something to await. While a worker waits
the node may give it calls to run within, so that a BEAM process which calls back is no deadlock.
What can go wrong: nobody is there, or it died (Exit); it took too long (Timeout); the node does not know
what to do with it (RuntimeError, with its words); the call was interrupted (KeyboardInterrupt, or
CancelledError; the node is told that nobody waits).
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Optional

from krait import _context
from krait._aio import running_loop
from krait._codec import Encoder
from krait._context import Scope
from krait._frames import CALLBACK, PROGRESS
from krait._terms import Atom, Pid

if TYPE_CHECKING:
    import asyncio

    from krait._engine import Engine, Wait

DEFAULT_TIMEOUT = 5.0  # gen_server's
LONGEST_MS = 2**32 - 1


class Exit(Exception):
    """The process that was called is not there or has died: `reason`, a term, is what
    gen_server:call/2 would have exited with: krait.Atom("noproc"), krait.Atom("noconnection") ..."""

    def __init__(self, reason: Any) -> None:
        super().__init__(reason)
        self.reason = reason


class Timeout(TimeoutError):
    """There was no answer in time."""


def call(dest: Any, request: Any, timeout: Optional[float] = DEFAULT_TIMEOUT) -> Any:
    """What a gen_server answers: gen_server:call(dest, request).

    `dest` is a krait.Pid, a name on the caller's node, or (name, node). `timeout` in seconds; None: as
    long as the call that runs may take. Raises Exit or Timeout. In a coroutine: `await krait.call(...)`,
    several at a time if you like.
    """
    return _asked("call", _dest(dest), request, "request", timeout)


def rpc(
    module: str,
    function: str,
    args: Any = (),
    timeout: Optional[float] = DEFAULT_TIMEOUT,
    node: Optional[str] = None,
) -> Any:
    """What a function on the caller's node returns, or on another: erpc:call(node, module, function,
    args). Raises Exit or Timeout. To be awaited in a coroutine.

    >>> krait.rpc("Elixir.Enum", "sum", [[1, 2, 3]])
    6
    """
    for what, name in (("module", module), ("function", function)):
        if not isinstance(name, str):
            raise TypeError(f"{what} is a str, got {name!r}")
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"args is a list, got {args!r}")
    if node is not None and not isinstance(node, str):
        raise TypeError(f"node is a str or None, got {node!r}")
    value = [Atom(module), Atom(function), list(args)]
    return _asked("rpc", None if node is None else Atom(node), value, "rpc", timeout)


def send(dest: Any, term: Any) -> None:
    """Sends a message. Whether it arrives is not told, as always; `dest` as for call()."""
    engine, scope = _here("send")
    engine.send(_frame(engine, 0, scope, "send", _dest(dest), term, "message", None))


def progress(term: Any) -> None:
    """Tells the caller how far the call that runs has come, if it asked for that; else does nothing, and
    so does it outside of a worker. Raises EncodeError if the term is none."""
    engine, scope = _context.engine, _context.current()
    if engine is not None and scope is not None and scope.meta.get("progress"):
        engine.send(_encoder(engine).frame(PROGRESS, scope.id, term, "progress"))


def monitor(dest: Any) -> Monitor:
    """Watches a process until the call that runs ends; `dest` as for call()."""
    return Monitor(_dest(dest))


class Monitor:
    """A process that is watched: made by krait.monitor()."""

    def __init__(self, dest: Any) -> None:
        engine, scope = _here("monitor")
        self._engine = engine
        self._wait = engine.opened(scope)
        try:
            engine.send(_frame(engine, self._wait.id, scope, "monitor", dest, None, "monitor", None))
        except BaseException:
            engine.forget(self._wait)
            raise

    @property
    def is_down(self) -> bool:
        """Whether the process has ended, as far as that is known."""
        if not self._wait.done:
            self._engine.look()
        return self._wait.how == "down"

    @property
    def reason(self) -> Any:
        """Why it ended; None while it lives (and is_down is False)."""
        return self._wait.value if self.is_down else None

    def wait(self, timeout: Optional[float] = None) -> Any:
        """Waits until the process has ended and returns the reason; raises Timeout. To be awaited in a
        coroutine."""
        seconds = None if timeout is None else _milliseconds(timeout) / 1000
        loop = running_loop()
        if loop is not None:
            return self._awaited(loop, seconds)
        until = None if seconds is None else time.monotonic() + seconds
        scope = _context.current()
        if not self._engine.wait(scope, self._wait, until, scope is not None and scope.closing):
            raise Timeout
        return _result(self._wait)

    async def _awaited(self, loop: asyncio.AbstractEventLoop, seconds: Optional[float]) -> Any:
        import asyncio

        future = _future(self._engine, loop, self._wait)
        done, _ = await asyncio.wait([future], timeout=seconds)
        if not done:
            raise Timeout
        return future.result()

    def cancel(self) -> None:
        """The process is not watched any more."""
        if not self._wait.done:
            self._engine.forget(self._wait)
            self._engine.send(_short(self._engine, self._wait, "demonitor"))
            self._wait.finish("cancelled", None)


def _here(what: str) -> tuple[Engine, Scope]:
    engine, scope = _context.engine, _context.current()
    if engine is None or scope is None:
        raise RuntimeError(f"krait.{what} is for code that a call runs, and none does")
    return engine, scope


def _asked(kind: str, dest: Any, value: Any, root: str, timeout: Optional[float]) -> Any:
    """The REPLY to a CALLBACK: its value, or something to await."""
    timeout_ms = None if timeout is None else _milliseconds(timeout)
    engine, scope = _here(kind)
    closing = scope.closing
    wait = engine.opened(scope)
    try:
        frame = _frame(engine, wait.id, scope, kind, dest, value, root, timeout_ms)
    except BaseException:
        engine.forget(wait)
        raise
    try:
        engine.send(frame)
        loop = running_loop()
        if loop is not None:
            future = _future(engine, loop, wait)
            future.add_done_callback(lambda future: _cancel(engine, wait) if future.cancelled() else None)
            return future
        engine.wait(scope, wait, None, closing)
    except BaseException:  # an interrupt, as a rule
        _cancel(engine, wait)
        raise
    return _result(wait)


def _cancel(engine: Engine, wait: Wait) -> None:
    """Nobody waits any more."""
    if not wait.done:
        engine.forget(wait)
        engine.send(_short(engine, wait, "cancel"))


def _future(engine: Engine, loop: asyncio.AbstractEventLoop, wait: Wait) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = loop.create_future()

    def finish() -> None:
        if wait.done and not future.done():
            try:
                future.set_result(_result(wait))
            except Exception as error:
                future.set_exception(error)

    engine.held(engine.wait_in, loop, wait, finish)
    return future


def _result(wait: Wait) -> Any:
    how, value = wait.how, wait.value
    if how == "ok" or how == "down":
        return value
    if how == "exit":
        raise Exit(value)
    if how == "timeout":
        raise Timeout
    if how == "lost":
        raise Exit(Atom("noconnection"))
    if how == "refused":
        raise RuntimeError(value)
    if how == "cancelled":
        raise RuntimeError("the monitor was cancelled")
    raise RuntimeError("the call on whose behalf this was has ended")


def _dest(dest: Any) -> Any:
    """As it is sent; TypeError if it is none."""
    if isinstance(dest, (Pid, str)):
        return dest
    if isinstance(dest, (tuple, list)) and len(dest) == 2 and all(isinstance(name, str) for name in dest):
        return list(dest)
    raise TypeError(f"a process is a krait.Pid, a name or (name, node), got {dest!r}")


def _milliseconds(timeout: Any) -> int:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is in seconds, or None, got {timeout!r}")
    if not timeout >= 0:
        raise ValueError(f"timeout is at least 0, got {timeout!r}")
    return min(math.ceil(min(timeout, LONGEST_MS) * 1000), LONGEST_MS)


_local = threading.local()  # encoders: one for each thread, and none that is in the middle of an answer


def _encoder(engine: Engine) -> Encoder:
    try:
        encoder: Encoder = _local.encoder
    except AttributeError:
        settings = engine.settings
        encoder = _local.encoder = Encoder(settings.max_depth, settings.max_result_bytes)
    return encoder


def _frame(
    engine: Engine,
    id_: int,
    scope: Scope,
    kind: str,
    dest: Any,
    value: Any,
    root: str,
    timeout: Optional[int],
) -> bytes:
    encoder = _encoder(engine)
    parts = [encoder.encode(value, root)]  # first, for it may run code of the user's
    pack: Callable[[Any], bytes] = encoder.plain
    head = [pack(part) for part in (CALLBACK, id_, scope.id, kind, dest)]
    return b"".join([b"\x97", *head, *parts, pack(timeout)])


def _short(engine: Engine, wait: Wait, kind: str) -> bytes:
    return _encoder(engine).plain([CALLBACK, wait.id, wait.owner, kind, None, None, None])
