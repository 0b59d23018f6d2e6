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
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional

from krait import _process
from krait._aio import Loops, without_running_loop
from krait._channel import BadFrame, Body, Channel, ChannelLost
from krait._context import Scope, running, scope_of_context
from krait._engine import ENDED, LOST, Engine, checked
from krait._exits import EXIT_BAD_FRAME, EXIT_CHANNEL_LOST
from krait._failure import write_stderr
from krait._frames import END_SESSION, INTERRUPT, PING
from krait._interrupt import Interrupt, beside
from krait._perform import perform
from krait._settings import Settings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

INTERRUPT_BYTES = 16  # the longest INTERRUPT frame is shorter
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
        self._stack: list[Scope] = []  # calls of the careful way, each within the one before
        self._loops = Loops(self)
        self._reading = threading.Lock()
        self._seats = threading.local()
        self._watched: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._gone = False  # the channel has ended
        self._main = threading.get_ident()
        interrupt.whose = self._whose

    # Calls

    def between(self, frame: Any) -> None:
        """A frame that came while no call ran, other than a plain CALL. An interrupt was late, unless it
        is for the call that comes now."""
        if self.take(frame):
            if frame[0] == PING:
                self._interrupt.early = False  # the call that it was meant for is answered
        elif frame[0] == END_SESSION:
            self.sessions.end(frame[2])
            _process.flush_output()
            self.send(self.pong(frame[1]))
        else:
            running.frame = frame
            answer = self.run(frame, time.monotonic())
            running.frame = None
            _process.flush_output()
            self.end(frame[1])
            if answer is not None:
                self.send(answer)

    def end(self, call_id: int) -> None:
        """What was still waited for on behalf of this call ends with it."""
        for wait in [wait for wait in list(self.open.values()) if wait.owner == call_id]:
            self.open.pop(wait.id, None)
            wait.finish(ENDED, None)

    def run(self, frame: Any, began: float) -> Optional[Body]:
        """The answer to a CALL or BATCH, the careful way."""
        scope = Scope(frame, began)
        token = scope_of_context.set(scope)
        self.scopes[scope.id] = scope
        self._stack.append(scope)
        try:
            return perform(self, scope, self.answers)
        finally:
            scope_of_context.reset(token)
            self._stack.pop()
            self._ended(scope)

    def _ended(self, scope: Scope) -> None:
        self.scopes.pop(scope.id, None)
        scope.frame = None
        if not self.scopes:
            self._to_come = 0

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

    def finish_plain(self, awaitable: Awaitable[Any]) -> Any:
        """finish() for the loop's own call, which gets a scope for that."""
        scope = Scope(running.frame, running.began)
        token = scope_of_context.set(scope)
        self.scopes[scope.id] = scope
        self._stack.append(scope)
        try:
            return self._loops.run(scope, awaitable)
        finally:
            scope_of_context.reset(token)
            self._stack.pop()
            self._ended(scope)

    # Interrupts

    def interrupt_waits(self, call_id: int) -> bool:
        """Whether an INTERRUPT of this call has come. The frames behind it stay in their order."""
        return call_id in self._arrived_interrupts()

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

    def _whose(self) -> bool:
        """A signal has come while user code runs here: whether it means that code, on the top of the stack.
        If it means another call, that is told."""
        if self._to_come > 0:
            self._to_come -= 1
            return False
        ids, self._announced = self._announced, []
        if not self.scopes:
            if running.id not in ids:
                self._raised.add(running.id)
            return True
        top = self._stack[-1] if self._stack else running
        ids += self._arrived_interrupts()
        meant = [scope for scope in (self._scope(id_) for id_ in ids) if scope is not None]
        if ids:
            self._to_come += len(ids) - 1
        else:
            meant = [top]
            self._raised.add(top.id)
        here = [self._tell(scope, scope is top) for scope in meant]
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
            self._tell(scope, False)
        else:
            self._announced.append(call_id)  # the main thread may be far from looking at anything

    def _tell(self, scope: Scope, here: bool) -> bool:
        """Makes an interrupt known to a call; whether it is to be raised just here."""
        if scope.task is not None:
            return self._loops.cancel(scope, here)
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
            if scope is not None and self._is_main() and scope.take_interrupt():
                raise KeyboardInterrupt
            left = None if until is None else max(0.0, until - time.monotonic())
            if not self.channel.pending:
                seat.poll(left)
            self.drain()
            if left == 0.0 and not done():
                return False
        return True

    def wait_for_credit(self, scope: Scope) -> None:
        self.wait_until(scope, lambda: scope.credit > 0 or scope.closing)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop not in self._watched:
            self._watched.add(loop)
            loop.add_reader(self.channel.sock, self._readable, loop)
        if self.channel.pending:
            loop.call_soon(self._readable, loop)

    def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        direct = loop if self._loops.is_own(loop) else None
        without_running_loop(lambda: self._take_all(direct))

    def _is_main(self) -> bool:
        return threading.get_ident() == self._main

    def _seat(self) -> _Seat:
        try:
            seat: _Seat = self._seats.seat
        except AttributeError:
            seat = self._seats.seat = _Seat(self.channel)
        return seat

    def drain(self) -> None:
        if self.channel.pending or self._seat().poll(0):
            self._take_all(None)

    def _take_all(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Takes what has come, then runs what of that is work: in a task of that loop if it can be one."""
        was = self._interrupt.hold()
        try:
            works = []
            with self._reading:
                while not self._gone and self.channel.ready():
                    frame = self._next()
                    if frame is not None:
                        works.append(frame)
            for frame in works:
                self._work(frame, loop)
        finally:
            self._interrupt.release(was)

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

    def _work(self, frame: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        """A CALL, BATCH or END_SESSION that came while a call waits."""
        raise NotImplementedError

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

    __slots__ = ("_poll", "_wakeup", "_wakeup_write")

    def __init__(self, channel: Channel) -> None:
        self._wakeup, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(channel.sock, select.POLLIN)
        self._poll.register(self._wakeup, select.POLLIN)

    def poll(self, seconds: float | None) -> bool:
        """Whether there may be something."""
        ready = self._poll.poll(None if seconds is None else math.ceil(seconds * 1000))
        for fd, _ in ready:
            if fd == self._wakeup:
                os.read(self._wakeup, WAKEUP_BYTES)
        return bool(ready)

    def wake(self) -> None:
        """From another thread."""
        try:
            os.write(self._wakeup_write, b".")
        except BlockingIOError:  # it has been told often enough
            pass

    def __del__(self) -> None:
        os.close(self._wakeup)
        os.close(self._wakeup_write)


beside.add(Desk.guarded.__code__)


def _is_interrupt(body: bytes) -> bool:
    return len(body) <= INTERRUPT_BYTES and body[:2] == bytes((0x92, INTERRUPT))
