"""Answers that no worker of Krait would send, written past it onto the channel."""

from __future__ import annotations

import os
import struct

import krait
import msgpack
from krait_faults import channel_fd


def _send(kind: int, elements: bytes, count: int) -> None:
    call = krait.current_call()
    assert call is not None
    head = bytes([0x90 + 2 + count, kind]) + msgpack.packb(call.id)
    body = head + elements
    os.write(channel_fd(), struct.pack(">I", len(body)) + body)


def result(value: bytes) -> str:
    """A RESULT of the bytes of one value, before the real one."""
    _send(2, value, 1)
    return "the real one"


def error(elements: bytes, count: int) -> str:
    """An ERROR of so many elements."""
    _send(3, elements, count)
    return "the real one"


def python_error(frames: bytes) -> str:
    """An ERROR of kind python whose frames are these bytes."""
    texts = b"".join(msgpack.packb(t) for t in ("python", "Lie", "liar", "a lie", "no trace"))
    return error(texts + b"\x90" + frames, 7)
