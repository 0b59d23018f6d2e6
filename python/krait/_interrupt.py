"""SIGINT as the node means it: KeyboardInterrupt in the function that runs.

The node sends an INTERRUPT frame and then the signal. Between calls, and while an answer is made and
sent, the signal is late and is ignored; but it may also be early, for a call that is still on its way
here. The frame tells.

User code runs `armed`. Where Krait's own code runs on its behalf (a frame is sent or received, a call
within the call is prepared) it is held: a signal that comes then is heard at the release, for one that
raised in the middle of a frame would cost the channel.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import CodeType, FrameType
from typing import Callable, Optional

class Interrupted(BaseException):
    """Raised in a call that is not wanted any more, where a worker has several slots; with one slot that is
    KeyboardInterrupt. A coroutine hears CancelledError, as any task that is cancelled."""


# Code of Krait's own that runs armed: what calls user code.
beside: set[CodeType] = set()


class Interrupt:
    """The handler of SIGINT."""

    __slots__ = ("_main", "armed", "early", "whose")

    def __init__(self) -> None:
        self.armed = False
        self.early = False
        # Whether it means the code that runs now, in that frame.
        self.whose: Optional[Callable[[Optional[FrameType]], bool]] = None
        self._main = threading.get_ident()

    def __call__(self, _signum: int, frame: FrameType | None) -> None:
        if not self.armed:
            self.early = True
            return
        if self.whose is not None and not self.whose(frame):
            return
        if frame is not None and frame.f_code in beside:
            # In the loop itself: in a C function that it called, or just beside it. Once is enough,
            # and the second exception could not be caught.
            self.armed = False
        raise KeyboardInterrupt

    def install(self) -> None:
        """Only the main thread may."""
        signal.signal(signal.SIGINT, self)

    def hold(self) -> bool:
        """From here to release(), which is given what this returns, signals wait."""
        if threading.get_ident() != self._main:
            return False
        was = self.armed
        self.armed = False
        return was

    def release(self, was: bool) -> None:
        """Raises KeyboardInterrupt if a signal has come."""
        if was:
            self.armed = True
            if self.early:
                self.early = False
                if self.whose is None or self.whose(sys._getframe()):
                    raise KeyboardInterrupt
