"""Frames over a stream socket: a 4-byte big-endian length, then so many bytes.

In the common case one read brings exactly one frame and one write takes one away. A frame that is
longer than the buffer is received straight into memory of its own; several frames in one read are
handed out one by one.
"""

from __future__ import annotations

import socket
import struct

BUFFER_BYTES = 64 << 10
LONG_KEEP_BYTES = 4 << 20  # memory of a longer frame that is kept for the next one
JOIN_BYTES = 64 << 10  # up to here it is cheaper to copy a body behind its length than to gather both

_LENGTH = struct.Struct(">I")


class ChannelLost(Exception):
    """The channel ended in the middle of a frame, or is no longer there."""


class BadFrame(Exception):
    """Bytes that are no frame."""


class Channel:
    """One end of a worker's channel. The socket must block."""

    __slots__ = ("_buffer", "_end", "_long", "_recv_into", "_sendall", "_start", "_view", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0  # bytes from here ...
        self._end = 0  # ... to here are received and not yet handed out
        self._long = bytearray()
        self._recv_into = sock.recv_into
        self._sendall = sock.sendall

    def receive(self) -> bytearray | memoryview | None:
        """The next frame's body, valid until the next receive(); None: the other end closed. Raises
        ChannelLost, BadFrame or OSError."""
        if self._start == self._end:
            got = self._recv_into(self._buffer)
            if got >= 4 and _LENGTH.unpack_from(self._buffer)[0] == got - 4:
                return self._buffer[4:got]  # decoding a copy is 0.4 us faster than decoding a view
            if got == 0:
                return None
            self._start, self._end = 0, got
        return self._receive_slow()

    def waiting(self) -> bool:
        """Whether something has come behind the frame that was received last."""
        if self._start != self._end:
            return True
        try:
            return len(self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)) > 0
        except BlockingIOError:
            return False

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

    def _receive_long(self, size: int) -> memoryview:
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
        while at < size:
            got = self._recv_into(body[at:], 0, socket.MSG_WAITALL)
            if got == 0:
                raise ChannelLost("end of file in a frame")
            at += got
        return body

    def send(self, body: bytes | tuple[bytes, bytes]) -> None:
        """Sends one frame, all of it; raises OSError."""
        if isinstance(body, tuple):
            head, body = body
            header = _LENGTH.pack(len(head) + len(body)) + head
            self._gather(header, body)
        elif len(body) <= JOIN_BYTES:
            self._sendall(_LENGTH.pack(len(body)) + body)
        else:
            self._gather(_LENGTH.pack(len(body)), body)

    def _gather(self, header: bytes, body: bytes) -> None:
        sent = self.sock.sendmsg((header, body))
        if sent < len(header):
            self._sendall(header[sent:])
            sent = len(header)
        self._sendall(memoryview(body)[sent - len(header) :])
