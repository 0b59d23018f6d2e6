"""What the calls of a worker with several slots run on: threads that are used again, and one event loop on
a thread of its own. All of them are daemons, for a worker that is told to stop does not wait for calls.
"""

from __future__ import annotations

import os
import queue
import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Callable, NoReturn, Optional

from krait._answers import Answers
from krait._engine import call_in_loop
from krait._exits import EXIT_INTERNAL
from krait._failure import formatted, write_stderr
from krait._settings import Settings

if TYPE_CHECKING:
    import asyncio

LAST_SECONDS = 1.0  # for tasks that are cancelled when the worker ends


class Bell:
    """Wakes the one thread that waits for it. A lock, for acquiring that is one step that no exception can
    cut in two."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """From any thread; rung twice is rung once."""
        try:
            self._lock.release()
        except RuntimeError:
            pass

    def wait(self, seconds: float = -1) -> None:
        """Until it rings or has rung, or so long."""
        self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


class Threads:
    """As many as there is work for; at most so many are kept when there is none."""

    def __init__(self, keep: int, settings: Settings) -> None:
        self._keep = keep
        self._settings = settings
        self._idle = 0
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[Callable[[Answers], None]] = queue.SimpleQueue()

    def run(self, work: Callable[[Answers], None]) -> None:
        """Calls it on a thread, with Answers that are that thread's, in a context of its own."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._work.put(work)
                return
        threading.Thread(target=self._live, args=(work,), name="krait-slot", daemon=True).start()

    def _live(self, work: Optional[Callable[[Answers], None]]) -> None:
        answers = Answers(self._settings)
        while work is not None:
            try:
                Context().run(work, answers)
            except BaseException as error:  # a mistake of Krait's own
                _die(error)
            work = None
            with self._lock:
                if self._idle >= self._keep:
                    return
                self._idle += 1
            work = self._work.get()


class LoopThread:
    """An event loop that runs on a daemon thread, from when it is first needed."""

    def __init__(self) -> None:
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._lock = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    def running(self) -> asyncio.AbstractEventLoop:
        """The loop."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    import asyncio

                    loop = asyncio.new_event_loop()
                    self._thread = threading.Thread(
                        target=self._run, args=(loop,), name="krait-loop", daemon=True
                    )
                    self._thread.start()
                    self._loop = loop
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
                break
            except BaseException as error:  # SystemExit in a task
                write_stderr(formatted(error))
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        try:
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=LAST_SECONDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:
            write_stderr(formatted(error))

    def stop(self) -> None:
        """Cancels what is left."""
        if self._loop is not None and self._thread is not None:
            call_in_loop(self._loop, self._loop.stop)
            self._thread.join(2 * LAST_SECONDS)


def call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """In the loop, in the context of the code that asks."""
    loop.call_soon_threadsafe(callback, context=copy_context())


def _die(error: BaseException) -> NoReturn:
    write_stderr(formatted(error))
    os._exit(EXIT_INTERNAL)
