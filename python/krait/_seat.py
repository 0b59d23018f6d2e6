"""Where a thread of a worker with one slot waits: for the channel, or for another thread that reads from the
channel what this one waits for.
"""

from __future__ import annotations

import math
import select
import socket
import threading

from krait._channel import Channel

WAKEUP_BYTES = 4096


class Seat:
    """One for each thread that ever waits; it is the thread's own but for wake()."""

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
            self.ring()

    def ring(self) -> None:
        """The same, also from a signal handler of its own thread: its next poll() does not wait."""
        try:
            self._cord.send(b".")
        except OSError:  # it was told often enough, or its thread is just ending
            pass

    def __del__(self) -> None:
        # Sockets, for another thread may be in wake() just now: a number might be another file by then.
        self._bell.close()
        self._cord.close()
