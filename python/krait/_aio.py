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
from typing import TYPE_CHECKING, Any, Callable

from krait._context import Scope
from krait._failure import formatted, write_stderr

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from krait._desk import Desk


class Loops:
    """The worker's own loop, and the others."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._own: asyncio.AbstractEventLoop | None = None
        self._main = threading.get_ident()

    def is_own(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it is the worker's."""
        return loop is self._own

    def run(self, scope: Scope | None, awaitable: Awaitable[Any]) -> Any:
        """What the awaitable comes to; KeyboardInterrupt if it was cancelled by an interrupt."""
        import asyncio

        loop, task = self._desk.held(self._start, scope, awaitable)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if scope is not None and scope.cancelled:
                raise KeyboardInterrupt from None
            raise
        finally:
            self._desk.held(self._stop, scope, loop, task)

    def _start(self, scope: Scope | None, awaitable: Awaitable[Any]) -> Any:
        import asyncio

        if threading.get_ident() != self._main or (self._own is not None and self._own.is_running()):
            loop = asyncio.new_event_loop()
        else:
            if self._own is None or self._own.is_closed():
                self._own = asyncio.new_event_loop()
                asyncio.set_event_loop(self._own)
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

    def cancel(self, scope: Scope, here: bool) -> bool:
        """Interrupts the call whose task that is; whether by raising KeyboardInterrupt just here."""
        import asyncio

        task, loop = scope.task, scope.loop
        if task is None or loop is None or task.done():
            return False
        if here and asyncio.current_task(loop) is task:
            return True
        scope.cancelled = True
        loop.call_soon_threadsafe(task.cancel)
        return False

    def settle(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Runs the worker's loop until these are done, and those that join them."""
        while tasks and self._own is not None:
            _until_done(self._own, list(tasks))

    def close(self) -> None:
        """At the worker's end."""
        if self._own is not None and not self._own.is_running():
            _close(self._own)


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


def without_running_loop(function: Callable[[], None]) -> None:
    """function(), in which the loop that calls this one back is not to be seen: plain code that waits
    there must wait, for it knows nothing of a loop."""
    import asyncio

    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        function()
    finally:
        asyncio._set_running_loop(loop)
