"""Frames over a stream socket: a 4-byte big-endian length, then so many bytes.

In the common case one read brings exactly one frame and one write takes one away. A frame that is
longer than the buffer is received straight into memory of its own; several frames in one read are
handed out one by one. What has come can be looked at before it is its turn: then it is kept.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections import deque
from typing import Callable, Optional, Tuple, Union

from krait._parts import Parted

BUFFER_BYTES = 64 << 10
LONG_KEEP_BYTES = 4 << 20  # memory of a longer frame that is kept for the next one
PARTS_TAG = 0xC1  # frame.h, "Frames in parts"
PARTS_MAX = 8
PARTS_AT = 64 << 10  # where the parts begin, at least: BUFFER_BYTES may be no more than that
PARTS_HEAD_BYTES = 10 + 4 * PARTS_MAX
JOIN_BYTES = 64 << 10  # up to here it is cheaper to copy a body behind its length than to gather both

# What is sent as one frame; in two parts where that saves copying. (typing's, for Python 3.9.)
Body = Union[bytes, Tuple[bytes, bytes]]

_LENGTH = struct.Struct(">I")


class ChannelLost(Exception):
    """The channel ended in the middle of a frame, or is no longer there."""


class BadFrame(Exception):
    """Bytes that are no frame."""


class Channel:
    """One end of a worker's channel. The socket must block. Any thread may send; receiving is for one at
    a time.

    Who has nothing else to do calls wait() before receive(), unless `pending`. A thread that sleeps in recv(2) on a
    Unix stream socket is woken for nothing when the other end reads what was sent from this one
    (unix_write_space() in the kernel), which for a short call is as dear as the call; in poll(2) it is not."""

    __slots__ = (
        "_buffer",
        "_end",
        "_kept",
        "_lock",
        "_long",
        "_poll",
        "_recv",
        "_recv_into",
        "_sendall",
        "_start",
        "_view",
        "pending",
        "sock",
        "wait",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0  # bytes from here ...
        self._end = 0  # ... to here are received and not yet handed out
        self._kept: deque[bytes | None] = deque()  # frames before those, and the end if it was seen
        self.pending = False  # whether there is either: poll() would not tell
        self._long = bytearray()
        self._recv = sock.recv
        self._recv_into = sock.recv_into
        self._sendall = sock.sendall
        self._lock = threading.Lock()  # of sending
        self._poll: Optional[select.poll] = None
        waiting = select.poll()  # one of its own: no two may be in poll() of the same
        waiting.register(sock, select.POLLIN)
        self.wait = waiting.poll

    def receive(self) -> bytes | bytearray | memoryview | None:
        """The next frame's body, valid until the next receive(); None: the other end closed. Raises
        ChannelLost, BadFrame or OSError."""
        if not self.pending:
            got = self._recv_into(self._buffer)
            if got >= 4 and _LENGTH.unpack_from(self._buffer)[0] == got - 4:
                return self._buffer[4:got]  # decoding a copy is 0.4 us faster than decoding a view
            if got == 0:
                return None
            self._start, self._end = 0, got
        return self._receive_next()

    def ready(self) -> bool:
        """Whether receive() would find something. A system call of 0.4 us."""
        if self.pending:
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.sock, select.POLLIN)
        return bool(self._poll.poll(0))

    def take(self, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """Those of the frames that have come which are `wanted`; the others keep their order. Never
        blocks, unless a frame is under way. Raises as receive() does."""
        arrived = list(self._kept)
        self._kept.clear()
        self.pending = self._start != self._end
        while None not in arrived and self.ready():
            body = self.receive()
            arrived.append(body if body is None or type(body) is Parted else bytes(body))
        taken = [body for body in arrived if body is not None and wanted(body)]
        self._kept.extend(body for body in arrived if body is None or not wanted(body))
        self.pending = bool(self._kept) or self._start != self._end
        return taken

    def _receive_next(self) -> bytes | bytearray | memoryview | None:
        try:
            return self._kept.popleft() if self._kept else self._receive_slow()
        finally:
            self.pending = bool(self._kept) or self._start != self._end

    def _receive_slow(self) -> bytearray | memoryview:
        while self._end - self._start < 4:
            self._receive_more()
        (size,) = _LENGTH.unpack_from(self._buffer, self._start)
        if size == 0:
            raise BadFrame("an empty frame")
        if size > BUFFER_BYTES - 4:
            return self._receive_long(size)
        while self._end - self._start < size + 4:
            self._receive_more()
        begin = self._start + 4
        self._start = begin + size
        return self._buffer[begin : begin + size]

    def _receive_more(self) -> None:
        """Appends to the buffer, first making room at its end."""
        start, end = self._start, self._end
        if end == BUFFER_BYTES or start == end:
            self._buffer[: end - start] = self._buffer[start:end]
            self._start, self._end = 0, end - start
        got = self._recv_into(self._view[self._end :])
        if got == 0:
            raise ChannelLost("end of file in a frame")
        self._end += got

    def _receive_parts(self, size: int) -> Parted:
        """A frame in parts. Up to where they begin it goes through the buffer, or into memory of its own;
        nothing of them is in the buffer then."""
        while self._end - self._start < PARTS_HEAD_BYTES:
            self._receive_more()
        count, length = struct.unpack_from(">BI", self._buffer, self._start + 5)
        if not 1 <= count <= PARTS_MAX:
            raise BadFrame(f"a frame in {count} parts")
        sizes = struct.unpack_from(f">{count}I", self._buffer, self._start + 10)
        at = 10 + 4 * count
        if size + 4 != max(at + length, PARTS_AT) + sum(sizes):
            raise BadFrame("a frame whose parts do not add up")
        body = Parted(length)
        if at + length < PARTS_AT:
            while self._end - self._start < PARTS_AT:
                self._receive_more()
            body[:] = self._view[self._start + at : self._start + at + length]
        else:
            have = self._end - self._start - at
            with memoryview(body) as memory:
                memory[:have] = self._view[self._start + at : self._end]
                self._fill(memory[have:])
        self._start = self._end = 0
        body.parts = [self._receive_bytes(part_size) for part_size in sizes]
        return body

    def _receive_bytes(self, size: int) -> bytes:
        """So many bytes, received into the object that is returned; into several and joined only when a
        signal comes in between."""
        got = self._recv(size, socket.MSG_WAITALL)
        if len(got) == size:
            return got
        pieces = [got]
        left = size - len(got)
        while left:
            if not got:
                raise ChannelLost("end of file in a frame")
            got = self._recv(left, socket.MSG_WAITALL)
            pieces.append(got)
            left -= len(got)
        return b"".join(pieces)

    def _fill(self, memory: memoryview) -> None:
        at = 0
        while at < len(memory):
            got = self._recv_into(memory[at:], 0, socket.MSG_WAITALL)
            if got == 0:
                raise ChannelLost("end of file in a frame")
            at += got

    def _receive_long(self, size: int) -> memoryview | Parted:
        while self._start + 4 == self._end:
            self._receive_more()
        if self._buffer[self._start + 4] == PARTS_TAG:
            return self._receive_parts(size)
        if size > len(self._long):
            memory = bytearray(size)
            if size <= LONG_KEEP_BYTES:
                self._long = memory
        else:
            memory = self._long
        body = memoryview(memory)[:size]
        at = self._end - self._start - 4
        body[:at] = self._view[self._start + 4 : self._end]
        self._start = self._end = 0
        self._fill(body[at:])
        return body

    def send(self, body: Body) -> None:
        """Sends one frame, all of it; raises OSError."""
        with self._lock:
            self.send_alone(body)

    def send_alone(self, body: Body, before: bytes = b"") -> None:
        """The same for a thread that knows that no other one sends: the lock is 1 % of a call. `before`: a
        whole frame that goes in front."""
        if isinstance(body, tuple):
            head, body = body
            header = before + _LENGTH.pack(len(head) + len(body)) + head
            self._gather(header, body)
        elif len(body) <= JOIN_BYTES:
            self._sendall(before + _LENGTH.pack(len(body)) + body)
        else:
            self._gather(before + _LENGTH.pack(len(body)), body)

    def send_whole(self, body: Body) -> None:
        """send() in one call into C, which nothing in this thread can come between."""
        if isinstance(body, tuple):
            body = b"".join(body)
        data = _LENGTH.pack(len(body)) + body
        with self._lock:
            self._sendall(data)

    def _gather(self, header: bytes, body: bytes) -> None:
        sent = self.sock.sendmsg((header, body))
        if sent < len(header):
            self._sendall(header[sent:])
            sent = len(header)
        self._sendall(memoryview(body)[sent - len(header) :])
