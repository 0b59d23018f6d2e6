"""What the running call can know about itself.

Each call has a Scope. The plain calls of a worker with one slot share one, `running`, which the
worker's loop fills in; whatever else runs (a call within a call, a coroutine, a call on one of several
slots) has a Scope of its own in a context variable.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Optional

from krait._frames import BATCH

if TYPE_CHECKING:
    import asyncio

    from krait._engine import Engine


@dataclass(frozen=True)
class Call:
    """The call that this worker is running."""

    id: int
    module: str
    function: str
    traceparent: Optional[str]  # W3C trace context, if the caller gave one
    deadline: Optional[float]  # in time.monotonic()'s seconds; None: no time limit

    def remaining(self) -> float | None:
        """Seconds left, not below 0; None: no time limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class Scope:
    """One CALL or BATCH from its beginning to its end. Reading it is made the costly part, for most
    calls do not."""

    __slots__ = (
        "aim",
        "began",
        "cancelled",
        "closing",
        "credit",
        "element",
        "fired",
        "frame",
        "interrupted",
        "loop",
        "task",
        "thread",
        "wake",
    )

    def __init__(self, frame: Any = None, began: float = 0.0) -> None:
        self.frame = frame  # the CALL or BATCH frame; None: it has ended
        self.began = began  # time.monotonic() when it arrived, if it has meta
        self.element: Any = None  # of a batch: the [module, function, args, kwargs] that runs
        meta = frame[-1] if frame is not None else None
        self.credit: int = meta.get("stream", 0) if meta else 0  # of a stream: items that may be sent in all
        self.closing = False  # of a stream: CLOSE has come
        self.thread = 0  # that runs it
        self.aim = 0  # with several slots: the thread to interrupt, while it runs user code
        self.fired = False  # and whether that was done
        self.wake: Optional[Callable[[], None]] = None  # of a stream: told of both
        self.interrupted = 0  # its id: an INTERRUPT has come that was not raised yet
        self.cancelled = False  # its task was cancelled because of an INTERRUPT
        self.task: Optional[asyncio.Task[Any]] = None  # what it awaits
        self.loop: Optional[asyncio.AbstractEventLoop] = None  # and where

    def take_interrupt(self) -> bool:
        """Whether there is one that was not raised yet; once."""
        if self.interrupted == 0:
            return False
        meant = self.frame is not None and self.interrupted == self.id
        self.interrupted = 0
        return meant

    @property
    def id(self) -> int:
        """Of the frame."""
        call_id: int = self.frame[1]
        return call_id

    @property
    def meta(self) -> dict[str, Any]:
        """What the CALL or BATCH said beside what is to be called."""
        return self.frame[-1] or {}


running = Scope()
scope_of_context: ContextVar[Optional[Scope]] = ContextVar("krait.scope", default=None)

engine: Optional[Engine] = None  # what serves the node in this process; None: nothing, not a worker


def current() -> Scope | None:
    """The Scope of the code that asks; None outside of every call."""
    scope = scope_of_context.get() or running
    return None if scope.frame is None else scope


def current_call() -> Call | None:
    """The call that is running; None between calls. With one slot also when asked from a thread that the
    call started; with more slots such a thread is outside of the call, unless it was given the context
    (contextvars.copy_context)."""
    scope = current()
    frame = None if scope is None else scope.frame
    if scope is None or frame is None:
        return None
    meta = frame[-1] or {}
    module, function = (scope.element or ("", ""))[:2] if frame[0] == BATCH else frame[2:4]
    left = meta.get("deadline_ms")
    return Call(
        id=frame[1],
        module=module,
        function=function,
        traceparent=meta.get("traceparent"),
        deadline=None if left is None else scope.began + left / 1000,
    )
