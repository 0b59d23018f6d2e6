"""Calls that the node has sent ahead, while this worker was busy (include/worker_ahead.h).

Each is a packet of its own: 8 bytes, the call's id, and the body of its CALL frame. Whoever reads it has
it; the node reads at the same end to have back what nobody has taken. So it is looked at once for each
call, and what is found is told with the answer to the call before it.

A call that is found counts FOUND points, a look in vain takes one away. With STEADY of them the calls are a steady
stream (_pace.py), until there are none left.
"""

from __future__ import annotations

import socket
from typing import Callable, Optional, Tuple

from krait._frames import TAKEN
from krait._pace import Pace

PACKET_BYTES = 8 << 10
ID_BYTES = 8
FOUND = 8  # what a call that was there already counts, beside a look in vain
STEADY = 32  # so many points, and it is a steady stream

# A frame of two elements, its type and an id of 8 bytes that follow.
_TAKEN = bytes((0, 0, 0, 11, 0x92, TAKEN, 0xCF))

Taken = Tuple[bytearray, bytes]  # the body, and the frame that says so


def none() -> Optional[Taken]:
    """Where nothing is sent ahead."""
    return None


def taker(sock: socket.socket) -> Callable[[], Optional[Taken]]:
    """A function that takes the next one, if there is one."""
    buffer = bytearray(PACKET_BYTES)
    receive = sock.recv_into
    pace = Pace()
    points = 0
    sock.setblocking(False)

    def take() -> Optional[Taken]:
        nonlocal points
        try:
            got = receive(buffer)
        except OSError:  # there is none; with no memory for it there is none either: the node has it back
            if points:
                points -= 1
                if not points:
                    pace.single()
            return None
        if got <= ID_BYTES:
            return None
        if points < STEADY:
            points += FOUND
            if points >= STEADY:
                pace.steady()
        return buffer[ID_BYTES:got], _TAKEN + buffer[:ID_BYTES]

    return take
