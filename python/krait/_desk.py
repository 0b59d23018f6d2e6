"""The engine of a worker with one slot: one call after the other, on the main thread.

While a plain call runs nobody reads the channel. Who waits for the node in the middle of a call (a
stream without credit, a call back) reads it himself, one frame at a time, whichever thread he is on, and
passes on what is for others. A CALL that comes meanwhile is run at once, inside: it has a scope of its
own, and the outer one goes on afterwards.

What can go wrong: an interrupt comes meanwhile (_hearing.py); the channel ends in the middle of a call
(what is waited for is lost, streams are closed, and the loop finds the end again when the call is over),
or breaks (the process ends there, as it would between calls).
"""

from __future__ import annotations

import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

from krait import _process
from krait._aio import running_loop, without_running_loop
from krait._answers import Answers
from krait._channel import BadFrame, Body, Channel, ChannelLost
from krait._context import Scope, running, scope_of_context
from krait._engine import Wait, call_in_loop, checked
from krait._frames import END_SESSION, PING
from krait._hearing import Hearing
from krait._interrupt import Interrupt
from krait._perform import complete, perform
from krait._seat import Seat
from krait._settings import Settings
from krait._stream import pump

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

INNER_MAX = 16  # frame.h: how deep calls within calls may be


class Desk(Hearing):
    """See above. Everything here but what is said of threads is for the main one."""

    def __init__(
        self, channel: Channel, settings: Settings, exposed: dict[str, Any], interrupt: Interrupt
    ) -> None:
        super().__init__(channel, settings, exposed, interrupt)
        self._seats = threading.local()
        self._all_seats: weakref.WeakSet[Seat] = weakref.WeakSet()
        self._watched: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._waits_in: Any = weakref.WeakKeyDictionary()  # loop: waits
        self._tasks: set[asyncio.Task[Any]] = set()  # of calls within calls
        self._gone = False  # the channel has ended

    # Calls

    def between(self, frame: Any) -> None:
        """A frame that came while no call ran, other than a plain CALL. An interrupt was late, unless it
        is for the call that comes now."""
        if self.take(frame):
            if frame[0] == PING:
                self.forget_signals()  # the call that they were meant for is answered
        elif frame[0] == END_SESSION:
            self.sessions.end(frame[2])
            _process.flush_output()
            self.send(self.pong(frame[1]))
        else:
            running.frame = frame
            scope = Scope(frame, time.monotonic())
            answer = self._run(scope, self.answers)
            running.frame = None
            self._to_come = 0
            _process.flush_output()
            assert answer is not None  # no task was made of it
            self.answer(frame[1], answer)

    def answer(self, call_id: int, answer: Body) -> None:
        """The answer to a call that ran while no other did. What it left behind ends with it, but for calls
        within it, which go on to their own ends."""
        self.end(call_id)
        with self._reading:
            pass  # a thread that was reading has seen that it need not
        self.send(answer)
        if self.inner:
            self._loops.settle(self._tasks)
            self.wait_until(None, lambda: not self.inner)

    def _run(self, scope: Scope, answers: Answers) -> Optional[Body]:
        """The answer to a CALL or BATCH, the careful way; None: a task will give it."""
        token = scope_of_context.set(scope)
        self.scopes[scope.id] = scope
        main = self._is_main()
        scope.thread = threading.get_ident()
        if main:
            self._stack.append(scope)
        answer: Optional[Body] = b""
        try:
            answer = perform(self, scope, answers)
            return answer
        finally:
            scope_of_context.reset(token)
            if main:
                self._stack.pop()
            if answer is not None:
                self._ended(scope)

    def _ended(self, scope: Scope) -> None:
        del self.scopes[scope.id]
        scope.frame = None

    def finish_plain(self, awaitable: Awaitable[Any]) -> Any:
        """finish() for the worker's loop, whose calls have no scope of their own."""
        scope = Scope(running.frame, running.began)
        scope.thread = self._main
        token = scope_of_context.set(scope)
        self.scopes[scope.id] = scope
        self._stack.append(scope)
        try:
            return self._loops.run(scope, awaitable)
        finally:
            scope_of_context.reset(token)
            self._stack.pop()
            self._ended(scope)

    def send(self, body: Body) -> None:
        if not self._is_main():
            # From now on the worker's loop does not send alone. If it does so just now, then for a call
            # that has ended before this.
            self.open[0] = _NEVER
            if running.frame is None and not self.inner:
                raise RuntimeError("the call on whose behalf this is has ended")
        self.held(self.channel.send, body)

    def finish(self, scope: Scope | None, awaitable: Awaitable[Any]) -> Any:
        return self._loops.run(scope, awaitable)

    def hand_over(self, scope: Scope, answers: Answers, value: Any) -> bool:
        if scope.loop is None:
            return False
        task = scope.loop.create_task(complete(self, scope, answers, value))
        scope.task = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, scope, answers))
        return True

    def _done(self, scope: Scope, answers: Answers, task: asyncio.Task[Body]) -> None:
        self._tasks.discard(task)
        self.held(self._answer_inner, scope, answers, task)

    async def pump_beside(self, scope: Scope, answers: Answers, value: Any) -> Body:
        with without_running_loop():
            return pump(self, scope, answers, value)

    # Waiting, on any thread

    def wait_until(self, scope: Scope | None, done: Callable[[], bool], until: float | None = None) -> bool:
        """Takes frames until it is done, or until time.monotonic() says so (False)."""
        seat = self._seat()
        while not done():
            if scope is not None and scope.thread == seat.thread and scope.take_interrupt():
                raise KeyboardInterrupt
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            if not self.channel.pending:
                seat.poll(left)
            self._take_all(done)
        return True

    def wait_for_credit(self, scope: Scope, sent: int) -> None:
        scope.wake = self._seat().wake  # another thread may read the ASK
        self.wait_until(scope, lambda: scope.credit > sent or scope.closing)

    def wait(self, scope: Scope | None, wait: Wait, until: float | None, closing: bool) -> bool:
        wait.wakes.append(self._seat().wake)
        if scope is None or closing or scope.thread != threading.get_ident():
            return self.wait_until(scope, lambda: wait.done, until)
        stream = scope
        stream.wake = self._seat().wake  # another thread may read the CLOSE
        if not self.wait_until(stream, lambda: wait.done or stream.closing, until):
            return False
        if not wait.done:
            raise GeneratorExit  # of a stream that is closed just here
        return True

    def wait_in(self, loop: asyncio.AbstractEventLoop, wait: Wait, finish: Callable[[], None]) -> None:
        self._waits_in.setdefault(loop, weakref.WeakSet()).add(wait)
        super().wait_in(loop, wait, finish)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop not in self._watched:
            self._watched.add(loop)
            loop.add_reader(self.channel.sock, self._readable, loop)
        if self.channel.pending:
            loop.call_soon(self._readable, loop)

    def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        waits = self._waits_in.get(loop, ())
        self._take_all(lambda: all(wait.done for wait in list(waits)))

    def look(self) -> None:
        if self._is_main():
            self.drain()

    def drain(self) -> None:
        if self.channel.pending or self._seat().poll(0):
            self._take_all(lambda: False)

    def _take_all(self, done: Callable[[], bool]) -> None:
        """Takes what has come, then runs what of that is work. Another thread than the main one stops as
        soon as it is done: from then on the main one may think that it is alone."""
        was = self._interrupt.hold()
        main = self._is_main()
        try:
            works = []
            with self._reading:
                while not self._gone and (main or not done()) and self.channel.ready():
                    frame = self._next()
                    if frame is not None:
                        works.append(frame)
                        self.inner.add(frame[1])
                        self.open[-frame[1]] = _NEVER
            if self.channel.pending:
                self.nudge()
            for frame in works:
                self._work(frame)
        finally:
            self._interrupt.release(was)

    def nudge(self) -> None:
        for seat in list(self._all_seats):
            seat.ring()
        for loop in list(self._watched):
            call_in_loop(loop, partial(self._readable, loop))

    def _seat(self) -> Seat:
        try:
            seat: Seat = self._seats.seat
        except AttributeError:
            seat = self._seats.seat = Seat(self.channel)
            self._all_seats.add(seat)
        return seat

    def _next(self) -> Any:
        """The next frame, if it is work."""
        try:
            body = self.channel.receive()
            if body is None:
                self.lost()
                return None
            frame = checked(self.decode(body))
            return None if self.take(frame) else frame
        except (BadFrame, ChannelLost, OSError, ValueError, TypeError) as error:
            self._broken(error)

    def _work(self, frame: Any) -> None:
        """A CALL, BATCH or END_SESSION that came while a call waits. The loop that this one waits in, if it
        does, is not to be seen; but if that is the worker's own, coroutines become tasks of it."""
        loop = running_loop()
        with without_running_loop():
            if frame[0] == END_SESSION:
                self.sessions.end(frame[2])
                self.send(self.pong(frame[1]))
                self._left(frame[1])
                return
            answers = Answers(self.settings)
            scope = Scope(frame, time.monotonic())
            scope.loop = loop if self._loops.is_own(loop) else None
            if len(self.inner) > INNER_MAX:
                error = RecursionError(f"calls that run within calls are at most {INNER_MAX} deep")
                body: Optional[Body] = answers.error(scope.id, error)
            else:
                body = self._run(scope, answers)
            if body is not None:
                self._send_inner(frame[1], body)

    def _answer_inner(self, scope: Scope, answers: Answers, task: asyncio.Task[Body]) -> None:
        call_id = scope.id
        try:
            body = task.result()
        except BaseException as error:  # cancelled before it began
            body = answers.error(call_id, self.meant(scope, error))
        self._ended(scope)
        self._send_inner(call_id, body)

    def _send_inner(self, call_id: int, body: Body) -> None:
        _process.flush_output()
        self.end(call_id)
        self.send(body)
        self._left(call_id)

    def _left(self, id_: int) -> None:
        self.inner.discard(id_)
        self.open.pop(-id_, None)
        if not self._is_main():
            self.nudge()  # the main thread may wait for just that

    def lost(self) -> None:
        self._gone = True
        super().lost()

    def last(self) -> None:
        super().last()
        self._loops.close()


# Beside what is waited for: a reason why the worker's loop is not alone. Nobody waits for it.
_NEVER = Wait(0, -1)
