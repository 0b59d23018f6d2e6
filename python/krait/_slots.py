"""The engine of a worker with several slots: so many calls at a time.

    channel -> main thread -> a thread for each plain call, and the answer from there
                           -> coroutines: one event loop on a thread of its own

The main thread does nothing but read the channel, so that a PING, an INTERRUPT or an answer to a call
back is never kept waiting. A call begins on a thread; if its function returns something to await, that
becomes a task of the loop and the thread is free again.

What can go wrong: an interrupt cancels one call alone: its task, or an exception, Interrupted, that is
raised in its thread wherever that runs Python code. It is aimed under a lock, only while the user's code
runs, at most once each time, and taken back if it has not struck by then: it never hits the next call
on that thread. Code that waits in C hears it when it returns. The channel breaks while a thread sends:
the process ends there.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

from krait import _process, _swallowed
from krait._answers import Answers
from krait._channel import BadFrame, Body
from krait._context import Scope, scope_of_context
from krait._engine import Engine, Wait, call_in_loop, checked
from krait._exits import EXIT_CHANNEL_LOST, EXIT_OK
from krait._failure import write_stderr
from krait._frames import END_SESSION, PONG
from krait._interrupt import Interrupted
from krait._perform import complete, perform
from krait._stream import pump
from krait._threads import Bell, LoopThread, Threads, call_soon

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_nothing: Any = ctypes.py_object()  # NULL


class Slots(Engine):
    """See above."""

    interruption = Interrupted

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._aim = threading.Lock()
        self._loop = LoopThread()
        self._threads = Threads(self.settings.slots, self.settings)
        self._loop_answers = Answers(self.settings)
        _swallowed.install(self._swallowed)

    # On the main thread

    def serve(self) -> int:
        """Until the node closes the channel."""
        channel, decode = self.channel, self.decode
        while True:
            if not channel.pending:
                channel.wait()
            data = channel.receive()
            if data is None:
                self.lost()
                self.last()
                return EXIT_OK
            try:
                frame = checked(decode(data))
            except (ValueError, TypeError, IndexError) as error:
                raise BadFrame(f"{type(error).__name__}: {error}") from error
            if self.take(frame):
                continue
            if frame[0] == END_SESSION:
                self._threads.run(partial(self._end_session, frame[1], frame[2]))
            else:
                scope = Scope(frame, time.monotonic())
                self.scopes[frame[1]] = scope
                self._threads.run(partial(self._run, scope))
            data = frame = scope = None  # type: ignore[assignment]

    def last(self) -> None:
        super().last()
        self._loop.stop()

    def interrupted(self, call_id: int) -> None:
        scope = self.scopes.get(call_id)
        if scope is None:
            return
        with self._aim:
            if scope.task is not None:
                self._cancel(scope)
            elif scope.aim:
                if not scope.fired:
                    scope.fired = True
                    _raise_in(scope.aim, Interrupted)
            else:
                scope.interrupted = call_id
            wake = scope.wake
        if wake is not None:
            wake()  # or it would wait in C

    def _cancel(self, scope: Scope) -> None:
        assert scope.task is not None
        scope.cancelled = True
        call_in_loop(self._loop.running(), scope.task.cancel)

    # On the threads

    def _run(self, scope: Scope, answers: Answers) -> None:
        scope_of_context.set(scope)
        body = perform(self, scope, answers)
        if body is not None:
            self._answer(scope, body)

    def _end_session(self, id_: int, token: int, _answers: Answers) -> None:
        self.sessions.end(token)
        _process.flush_output()
        self.send(self.pong(id_))

    def _answer(self, scope: Scope, body: Body) -> None:
        call_id = scope.id
        self.scopes.pop(call_id, None)
        scope.frame = None
        _process.flush_output()
        self.end(call_id)
        self.send(body)

    def send(self, body: Body) -> None:
        """In one step, which an interrupt cannot cut in two."""
        try:
            self.channel.send_whole(body)
        except OSError as error:
            write_stderr(f"krait: the channel to the node is lost: {error}\n")
            os._exit(EXIT_CHANNEL_LOST)

    def pong(self, id_: int) -> bytes:
        return Answers(self.settings).plain(PONG, id_)  # any thread's

    def guarded(self, scope: Scope, function: Callable[..., Any], *args: Any) -> Any:
        lock = self._aim
        try:
            try:
                with lock:
                    if scope.take_interrupt():
                        raise Interrupted
                    scope.fired = False
                    scope.aim = threading.get_ident()
                return function(*args)
            finally:
                with lock:
                    if scope.fired:
                        _raise_in(scope.aim, _nothing)
                    scope.aim = 0
        except Interrupted:  # it may have struck in the lines above; there is no second one
            with lock:
                scope.aim = 0
            raise

    def _swallowed(self, error: BaseException) -> Optional[_swallowed.Again]:
        scope = scope_of_context.get()
        if not isinstance(error, Interrupted) or scope is None or scope.aim != threading.get_ident():
            return None
        return _swallowed.in_this_thread(Interrupted)

    def held(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def wait_for_credit(self, scope: Scope, sent: int) -> None:
        bell = Bell()
        scope.wake = bell.ring
        try:
            while scope.credit <= sent and not scope.closing:
                bell.wait()
        finally:
            scope.wake = None

    def wait(self, scope: Scope | None, wait: Wait, until: float | None, closing: bool) -> bool:
        bell = Bell()
        wait.wakes.append(bell.ring)
        if scope is not None and scope.aim == threading.get_ident():
            scope.wake = bell.ring
        else:
            scope = None
        try:
            while not wait.done:
                if scope is not None and scope.closing and not closing:
                    raise GeneratorExit  # of a stream that is closed just here
                left = -1.0 if until is None else until - time.monotonic()
                if until is not None and left <= 0:
                    return False
                bell.wait(left)
            return True
        finally:
            if scope is not None:
                scope.wake = None

    # Between the threads and the loop

    def finish(self, scope: Scope | None, awaitable: Awaitable[Any]) -> Any:
        """On a thread, which waits; for what cannot be handed over."""
        import asyncio

        bell = Bell()
        tasks: list[asyncio.Task[Any]] = []

        def start() -> None:
            task = self._loop.running().create_task(_awaited(awaitable))
            tasks.append(task)
            task.add_done_callback(lambda _: bell.ring())
            self._started(scope, task)

        if scope is not None:
            scope.wake = bell.ring
        try:
            call_soon(self._loop.running(), start)
            while not tasks or not tasks[0].done():
                bell.wait()
        except BaseException:
            for task in tasks:
                call_in_loop(self._loop.running(), task.cancel)
            raise
        finally:
            if scope is not None:
                with self._aim:
                    scope.task = scope.wake = None
        try:
            return tasks[0].result()
        except asyncio.CancelledError as error:
            raise (error if scope is None else self.meant(scope, error)) from None

    def hand_over(self, scope: Scope, answers: Answers, value: Any) -> bool:
        call_soon(self._loop.running(), partial(self._start, scope, value))
        return True

    def _start(self, scope: Scope, value: Any) -> None:
        """In the loop."""
        coroutine = complete(self, scope, self._loop_answers, value)
        task = self._loop.running().create_task(coroutine)
        task.add_done_callback(partial(self._done, scope))
        self._started(scope, task)

    def _started(self, scope: Scope | None, task: asyncio.Task[Any]) -> None:
        if scope is not None:
            with self._aim:
                scope.task = task
                if scope.take_interrupt():
                    self._cancel(scope)

    def _done(self, scope: Scope, task: asyncio.Task[Body]) -> None:
        try:
            body = task.result()
        except BaseException as error:  # cancelled before it began
            body = self._loop_answers.error(scope.id, self.meant(scope, error))
        self._answer(scope, body)

    def meant(self, scope: Scope, error: BaseException) -> BaseException:
        cancelled = scope.cancelled and type(error).__name__ == "CancelledError"
        return Interrupted() if cancelled else error

    async def pump_beside(self, scope: Scope, answers: Answers, value: Any) -> Body:
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Body] = loop.create_future()

        def run(own: Answers) -> None:
            scope_of_context.set(scope)
            body = pump(self, scope, own, value)
            call_in_loop(loop, lambda: future.set_result(body))

        with self._aim:
            scope.task = None  # from here on an interrupt is for that thread
        self._threads.run(run)
        return await future


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
