"""What a SIGINT means on a worker with one slot, when calls run within calls and coroutines wait.

The node sends an INTERRUPT frame and then the signal, and each of them may be noticed first: the signal
while Python code runs, the frame by whoever reads the channel. Each pair must raise once, in the call that
the frame names. So a frame that was acted upon swallows the signal that is still to come, and a signal that
was raised without its frame swallows that when it is read. Which call: with one that is easy; else what has
come on the channel is searched for INTERRUPT frames. A call that is meant while another runs within it
hears it when it is its turn; one that awaits something is cancelled.
"""

from __future__ import annotations

import os
import threading
from types import FrameType
from typing import Any, Callable, NoReturn, Optional

from krait import _swallowed
from krait._aio import Loops
from krait._channel import BadFrame, Channel, ChannelLost
from krait._context import Scope, running
from krait._engine import Engine
from krait._exits import EXIT_BAD_FRAME, EXIT_CHANNEL_LOST
from krait._failure import write_stderr
from krait._frames import INTERRUPT
from krait._interrupt import Interrupt, beside
from krait._settings import Settings

INTERRUPT_BYTES = 16  # the longest INTERRUPT frame is shorter


class Hearing(Engine):
    """The part of the desk that has to do with interrupts."""

    def __init__(
        self, channel: Channel, settings: Settings, exposed: dict[str, Any], interrupt: Interrupt
    ) -> None:
        super().__init__(channel, settings, exposed)
        self._interrupt = interrupt
        self._raised: set[int] = set()  # calls that a signal hit whose frame was not read yet
        self._announced: list[int] = []  # calls that a signal is yet to hit, their frames read
        self._to_come = 0  # signals whose frames were read before them, and acted upon
        self._hears = False  # a signal, just now
        self._stack: list[Scope] = []  # calls of the careful way, each within the one before
        self.inner: set[int] = set()  # calls within calls, by id
        self._loops = Loops(self)
        self._reading = threading.Lock()
        self._looks = False  # for INTERRUPT frames, just now
        self._main = running.thread = threading.get_ident()
        interrupt.whose = self._whose
        _swallowed.install(self._swallowed)

    def _is_main(self) -> bool:
        return threading.get_ident() == self._main

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

    def meant(self, scope: Scope, error: BaseException) -> BaseException:
        cancelled = scope.cancelled and type(error).__name__ == "CancelledError"
        return KeyboardInterrupt() if cancelled else error

    def forget_signals(self) -> None:
        """Those that have come, and those that should have, were for calls that have ended."""
        self._interrupt.early = False
        self._to_come = 0

    # What is meant

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
        self._looks = True
        try:
            with self._reading:  # another thread that reads does not wait for anything while it does
                ids = [self.decode(body)[1] for body in self.channel.take(_is_interrupt)]
        except BadFrame as error:
            self._broken(error)
        finally:
            self._looks = False
        if self.channel.pending:  # and this may be just before a poll(), or in it
            self.nudge()
        return ids

    def nudge(self) -> None:
        """There is something for those who wait that no poll() tells of."""
        raise NotImplementedError

    def _whose(self, frame: FrameType | None) -> bool:
        """A signal has come while user code runs here: whether it means that code, on the top of the stack.
        If it means another call, that is told."""
        if self._to_come > 0:
            self._to_come -= 1
            return False
        if self._hears or self._looks:
            return False  # of a storm of signals one at a time is enough
        self._hears = True
        try:
            return self._hear(frame)
        finally:
            self._hears = False

    def _hear(self, frame: FrameType | None) -> bool:
        ids, self._announced = self._announced, []
        top = self._top()
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

    def _swallowed(self, error: BaseException) -> Optional[_swallowed.Again]:
        if not (isinstance(error, KeyboardInterrupt) and self._is_main() and self._interrupt.armed):
            return None
        self._raised.discard(self._top().id)
        return _swallowed.by_signal()

    def _top(self) -> Scope:
        """The call whose code runs here."""
        return self._stack[-1] if self._stack else running

    def _scope(self, call_id: int) -> Scope | None:
        scope = self.scopes.get(call_id)
        if scope is None and running.frame is not None and running.id == call_id:
            return running
        return scope

    def _broken(self, error: BaseException) -> NoReturn:
        lost = isinstance(error, (ChannelLost, OSError))
        words = "the channel to the node is lost" if lost else "the node sent what is no frame"
        write_stderr(f"krait: {words}: {error}\n")
        os._exit(EXIT_CHANNEL_LOST if lost else EXIT_BAD_FRAME)


beside.add(Hearing.guarded.__code__)


def _is_interrupt(body: bytes) -> bool:
    return len(body) <= INTERRUPT_BYTES and body[:2] == bytes((0x92, INTERRUPT))
