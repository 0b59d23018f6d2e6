"""Event loops of a worker with one slot.

One loop per worker, made when it is first needed, kept, and run by the main thread while a call awaits
something. Tasks that a call leaves behind stay, and go on when the loop next runs; at the worker's end
they are cancelled. Where the loop is not free (a call within a call, or on a thread of the user's) a
loop is made for the occasion and closed after it.

An interrupt cancels the task that the call awaits: CancelledError in it, KeyboardInterrupt to the
caller, the loop as good as before. If the signal finds that very task executing Python code, it is
KeyboardInterrupt in there, as in any other code: it may never await again.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from krait._context import Scope
from krait._failure import formatted, write_stderr

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from krait._engine import Engine


class Loops:
    """The worker's own loop, and the others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._own: asyncio.AbstractEventLoop | None = None
        self._cancelling: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._main = threading.get_ident()

    def is_own(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether it is the worker's."""
        return loop is not None and loop is self._own

    def run(self, scope: Scope | None, awaitable: Awaitable[Any]) -> Any:
        """What the awaitable comes to; KeyboardInterrupt if it was cancelled by an interrupt."""
        import asyncio

        loop, task = self._engine.held(self._start, scope, awaitable)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if scope is not None and scope.cancelled:
                raise KeyboardInterrupt from None
            raise
        finally:
            self._engine.held(self._stop, scope, loop, task)

    def _start(self, scope: Scope | None, awaitable: Awaitable[Any]) -> Any:
        import asyncio

        if threading.get_ident() != self._main or (self._own is not None and self._own.is_running()):
            loop = asyncio.new_event_loop()
        else:
            if self._own is None or self._own.is_closed():
                self._own = asyncio.new_event_loop()
            loop = self._own
        task = loop.create_task(_awaited(awaitable))
        if scope is not None:
            scope.task, scope.loop = task, loop
        return loop, task

    def _stop(
        self, scope: Scope | None, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]
    ) -> None:
        if scope is not None:
            scope.task = scope.loop = None
        if not task.done():  # another task stopped the loop, with SystemExit or KeyboardInterrupt
            task.cancel()
            _until_done(loop, [task])
        if loop is not self._own:
            _close(loop)

    def cancel(self, scope: Scope, frame: FrameType | None) -> bool:
        """Interrupts the call whose task that is; whether by raising KeyboardInterrupt in this frame."""
        task, loop = scope.task, scope.loop
        if task is None or loop is None or task.done():
            return False
        if frame is not None and _is_within(frame, task):
            return True
        if task not in self._cancelling:
            scope.cancelled = True
            self._cancelling.add(task)
            loop.call_soon_threadsafe(self._cancel, task)
        return False

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        self._cancelling.discard(task)
        task.cancel()

    def settle(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Runs the worker's loop until these are done, and those that join them."""
        while tasks and self._own is not None:
            _until_done(self._own, list(tasks))

    def close(self) -> None:
        """At the worker's end."""
        if self._own is not None and not self._own.is_running():
            _close(self._own)


def _is_within(frame: FrameType | None, task: asyncio.Task[Any]) -> bool:
    """Whether it is code of the task's coroutine, or called by that. (The loop's own, on behalf of the
    task, would leave it neither done nor to be resumed.)"""
    root = task.get_coro().cr_frame  # type: ignore[union-attr]
    while frame is not None and frame is not root:
        if frame.f_code is Loops.run.__code__:
            return False
        frame = frame.f_back
    return frame is not None


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _until_done(loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[Any]]) -> None:
    import asyncio

    try:
        loop.run_until_complete(asyncio.wait(tasks))
    except BaseException as error:
        write_stderr(formatted(error))


def _close(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            _until_done(loop, list(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except BaseException as error:
        write_stderr(formatted(error))
    finally:
        loop.close()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs the code that asks."""
    asyncio = sys.modules.get("asyncio")
    return None if asyncio is None else asyncio._get_running_loop()


@contextmanager
def without_running_loop() -> Iterator[None]:
    """In here the loop that calls this one back is not to be seen: plain code that waits must wait, for it
    knows nothing of a loop."""
    loop = running_loop()
    if loop is None:
        yield
        return
    import asyncio

    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
