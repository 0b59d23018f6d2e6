"""The engine of a worker with one slot: one call after the other, on the main thread.

While a plain call runs nobody reads the channel. Who waits for the node in the middle of a call (a
stream without credit, a call back) reads it himself, one frame at a time, whichever thread he is on, and
passes on what is for others. A CALL that comes meanwhile is run at once, inside: it has a scope of its
own, and the outer one goes on afterwards.

What can go wrong: an interrupt (_interrupt.py) that comes in a call within a call may mean either. The
frame that precedes the signal tells which; the outer one hears it when it is its turn. The channel
breaks in the middle of a call: the process ends there, as it would between calls.
"""

from __future__ import annotations

import math
import os
import select
import socket
import threading
import time
import weakref
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional

from krait import _process
from krait._aio import Loops, running_loop, without_running_loop
from krait._answers import Answers
from krait._channel import BadFrame, Body, Channel, ChannelLost
from krait._context import Scope, running, scope_of_context
from krait._engine import LOST, Engine, Wait, call_in_loop, checked
from krait._exits import EXIT_BAD_FRAME, EXIT_CHANNEL_LOST
from krait._failure import write_stderr
from krait._frames import END_SESSION, INTERRUPT, PING
from krait._interrupt import Interrupt, beside
from krait._perform import complete, perform
from krait._settings import Settings
from krait._stream import pump

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

INTERRUPT_BYTES = 16  # the longest INTERRUPT frame is shorter
INNER_MAX = 16  # frame.h: how deep calls within calls may be
WAKEUP_BYTES = 4096


class Desk(Engine):
    """See above. Everything here but what is said of threads is for the main one."""

    def __init__(
        self, channel: Channel, settings: Settings, exposed: dict[str, Any], interrupt: Interrupt
    ) -> None:
        super().__init__(channel, settings, exposed)
        self._interrupt = interrupt
        self._raised: set[int] = set()  # calls that a signal hit whose frame was not read yet
        self._announced: list[int] = []  # calls that a signal is yet to hit, their frames read
        self._to_come = 0  # signals whose frames were read before them, and acted upon
        self._hearing = False  # a signal, just now
        self._stack: list[Scope] = []  # calls of the careful way, each within the one before
        self._loops = Loops(self)
        self._reading = threading.Lock()
        self._seats = threading.local()
        self._all_seats: weakref.WeakSet[_Seat] = weakref.WeakSet()
        self._watched: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._waits_in: Any = weakref.WeakKeyDictionary()  # loop: waits
        self.inner: set[int] = set()  # calls within calls, by id
        self._tasks: set[asyncio.Task[Any]] = set()  # of calls within calls
        self._gone = False  # the channel has ended
        self._main = running.thread = threading.get_ident()
        interrupt.whose = self._whose

    # Calls

    def between(self, frame: Any) -> None:
        """A frame that came while no call ran, other than a plain CALL. An interrupt was late, unless it
        is for the call that comes now."""
        if self.take(frame):
            if frame[0] == PING:
                self._interrupt.early = False  # the call that it was meant for is answered
                self._to_come = 0
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

    def guarded(self, scope: Scope, function: Callable[..., Any], *args: Any) -> Any:
        if threading.get_ident() != self._main:
            return function(*args)
        interrupt = self._interrupt
        try:
            interrupt.armed = True
            return function(*args)
        finally:
            interrupt.armed = False

    def begin(self, scope: Scope) -> None:
        if self._interrupt.early:
            self._interrupt.early = False
            if self.interrupt_waits(scope.id):
                raise KeyboardInterrupt

    def held(self, function: Callable[..., Any], *args: Any) -> Any:
        was = self._interrupt.hold()
        try:
            return function(*args)
        finally:
            self._interrupt.release(was)

    def send(self, body: Body) -> None:
        self.held(self.channel.send, body)

    def meant(self, scope: Scope, error: BaseException) -> BaseException:
        cancelled = scope.cancelled and type(error).__name__ == "CancelledError"
        return KeyboardInterrupt() if cancelled else error

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

    # Interrupts

    def interrupt_waits(self, call_id: int) -> bool:
        """A signal came before this call began: whether it is the one that is meant. Another that is, is
        told."""
        ids, self._announced = self._announced + self._arrived_interrupts(), []
        if not self.inner:
            self._to_come = 0  # it has come: after what it was meant for had ended
        others = [scope for scope in (self._scope(id_) for id_ in ids if id_ != call_id) if scope is not None]
        for scope in others:
            self._tell(scope)
        if not ids and len(self._stack) > 1:
            self._interrupt.early = True  # for the call that this one runs within, at its release
        return call_id in ids

    def _arrived_interrupts(self) -> list[int]:
        """Takes the INTERRUPT frames out of what has come; their ids."""
        if not self._reading.acquire(blocking=False):
            return []  # another thread is at it, and will find them
        try:
            return [self.decode(body)[1] for body in self.channel.take(_is_interrupt)]
        except BadFrame as error:
            self._broken(error)
        finally:
            self._reading.release()

    def _whose(self, frame: FrameType | None) -> bool:
        """A signal has come while user code runs here: whether it means that code, on the top of the stack.
        If it means another call, that is told."""
        if self._to_come > 0:
            self._to_come -= 1
            return False
        if self._hearing:
            return False  # of a storm of signals one at a time is enough
        self._hearing = True
        try:
            return self._hear(frame)
        finally:
            self._hearing = False

    def _hear(self, frame: FrameType | None) -> bool:
        ids, self._announced = self._announced, []
        top = self._stack[-1] if self._stack else running
        if self.inner:  # else there is no other that it could mean
            ids += self._arrived_interrupts()
        meant = [scope for scope in (self._scope(id_) for id_ in ids) if scope is not None]
        if ids:
            self._to_come += len(ids) - 1
        else:
            meant = [top]
            self._raised.add(top.id)
        here = [self._tell(scope, scope is top, frame) for scope in meant]
        return any(here)

    def interrupted(self, call_id: int) -> None:
        """The frame was read before its signal was heard, or long after."""
        if call_id in self._raised:
            self._raised.discard(call_id)
            return
        scope = self._scope(call_id)
        if scope is None:
            return
        if self._is_main():
            self._to_come += 1
            self._tell(scope)
        else:
            self._announced.append(call_id)  # the main thread may be far from looking at anything

    def _tell(self, scope: Scope, here: bool = False, frame: FrameType | None = None) -> bool:
        """Makes an interrupt known to a call; whether it is to be raised just here, in that frame."""
        if scope.task is not None:
            return self._loops.cancel(scope, frame if here else None)
        scope.interrupted = 0 if here else scope.id
        return here

    def _scope(self, call_id: int) -> Scope | None:
        scope = self.scopes.get(call_id)
        if scope is None and running.frame is not None and running.id == call_id:
            return running
        return scope

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
        self.wait_until(scope, lambda: scope.credit > sent or scope.closing)

    def wait(self, scope: Scope | None, wait: Wait, until: float | None) -> bool:
        wait.wakes.append(self._seat().wake)
        return self.wait_until(scope, lambda: wait.done, until)

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
            if self.channel.pending:
                self._nudge()
            for frame in works:
                self._work(frame)
        finally:
            self._interrupt.release(was)

    def _nudge(self) -> None:
        """There is something for others that no poll() tells of."""
        for seat in list(self._all_seats):
            seat.wake()
        for loop in list(self._watched):
            call_in_loop(loop, partial(self._readable, loop))

    def _is_main(self) -> bool:
        return threading.get_ident() == self._main

    def _seat(self) -> _Seat:
        try:
            seat: _Seat = self._seats.seat
        except AttributeError:
            seat = self._seats.seat = _Seat(self.channel)
            self._all_seats.add(seat)
        return seat

    def _next(self) -> Any:
        """The next frame, if it is work."""
        try:
            body = self.channel.receive()
            if body is None:
                self._lost()
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
                self.inner.discard(frame[1])
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
        self.inner.discard(call_id)
        if not self._is_main():
            self._nudge()  # the main thread may wait for just that

    def _lost(self) -> None:
        """The node is gone: nothing that is waited for will come."""
        self._gone = True
        for wait in list(self.open.values()):
            wait.finish(LOST, None)
        for scope in list(self.scopes.values()):
            scope.closing = True
            if scope.wake is not None:
                scope.wake()

    def _broken(self, error: BaseException) -> NoReturn:
        lost = isinstance(error, (ChannelLost, OSError))
        words = "the channel to the node is lost" if lost else "the node sent what is no frame"
        write_stderr(f"krait: {words}: {error}\n")
        os._exit(EXIT_CHANNEL_LOST if lost else EXIT_BAD_FRAME)

    def last(self) -> None:
        super().last()
        self._loops.close()


class _Seat:
    """Where a thread waits: for the channel, or for another thread that read what it waits for."""

    __slots__ = ("__weakref__", "_bell", "_cord", "_poll", "thread")

    def __init__(self, channel: Channel) -> None:
        self.thread = threading.get_ident()
        self._bell, self._cord = socket.socketpair()
        self._bell.setblocking(False)
        self._cord.setblocking(False)
        self._poll = select.poll()
        self._poll.register(channel.sock, select.POLLIN)
        self._poll.register(self._bell, select.POLLIN)

    def poll(self, seconds: float | None) -> bool:
        """Whether there may be something."""
        ready = self._poll.poll(None if seconds is None else math.ceil(seconds * 1000))
        if len(ready) > 1 or (ready and ready[0][0] == self._bell.fileno()):
            self._bell.recv(WAKEUP_BYTES)
        return bool(ready)

    def wake(self) -> None:
        """From any thread; from its own there is no need."""
        if threading.get_ident() != self.thread:
            try:
                self._cord.send(b".")
            except OSError:  # it was told often enough, or its thread is just ending
                pass

    def __del__(self) -> None:
        # Sockets, for another thread may be in wake() just now: a number might be another file by then.
        self._bell.close()
        self._cord.close()


beside.add(Desk.guarded.__code__)


def _is_interrupt(body: bytes) -> bool:
    return len(body) <= INTERRUPT_BYTES and body[:2] == bytes((0x92, INTERRUPT))
