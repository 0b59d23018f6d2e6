"""The Python end of the sides that the benchmark compares the node with.

Frames of a 4-byte length and a msgpack payload come in on descriptor 0 and go out on descriptor 1:
what an Elixir `Port` with `{:packet, 4}` speaks, and what bench_floor.c speaks over a socketpair. Each
frame is decoded, its value echoed and encoded again, as a worker of the node does it with the argument
of a call. The request is the node's CALL frame, the answer its RESULT frame (include/frame.h):

    [1, id, "bench_echo", "echo", [value], {}, nil]   ->   [2, id, value]

Nothing else happens here: no look-up, no exceptions, no cancelling. This is the floor. A long frame is
received into memory of its own length, and its answer written from where msgpack has put it: what can be
spared in Python, is. So are the wake-ups for nothing of who sleeps in read(2) on a Unix socket (Channel in
python/krait/_channel.py): where requests come one at a time it sleeps in poll(2). A pipe wakes nobody so.
"""

from __future__ import annotations

import os
import select
import stat
import struct
from typing import Union

import msgpack

CHUNK = 1 << 16
LONGEST = 1 << 30


def main() -> None:
    pack = msgpack.Packer(use_bin_type=True).pack
    unpack = msgpack.unpackb
    length = struct.Struct(">I")
    pending: bytes = b""
    is_socket = stat.S_ISSOCK(os.fstat(0).st_mode)
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    frames = 0  # in the last read
    while True:
        if frames == 1 and is_socket:
            waiting.poll()
        frames = 0
        chunk = os.read(0, CHUNK)
        if not chunk:
            return
        pending = pending + chunk if pending else chunk
        at, end = 0, len(pending)
        while end - at >= 4:
            (size,) = length.unpack_from(pending, at)
            body: Union[bytes, bytearray]
            if end - at >= 4 + size:
                body = pending[at + 4 : at + 4 + size]
            elif size > CHUNK:
                body = rest_of(size, pending[at + 4 :])
            else:
                break
            at = min(at + 4 + size, end)
            frames += 1
            frame = unpack(body, raw=False, strict_map_key=False, max_bin_len=LONGEST, max_str_len=LONGEST)
            answer = pack([2, frame[1], frame[4][0]])
            # One write an answer, also when several requests came in one read: an echo that gathers
            # its answers would measure something that no pool of synchronous workers does.
            if size > CHUNK:
                write_both(length.pack(len(answer)), answer)
            else:
                write_all(length.pack(len(answer)) + answer)
        pending = pending[at:]


def rest_of(size: int, begun: bytes) -> bytearray:
    """A frame of `size` bytes of which some are here."""
    body = bytearray(size)
    body[: len(begun)] = begun
    view, done = memoryview(body), len(begun)
    while done < size:
        n = os.readv(0, [view[done:]])
        if n == 0:
            raise SystemExit(1)
        done += n
    return body


def write_both(head: bytes, body: bytes) -> None:
    done = os.writev(1, [head, body])
    if done < len(head):
        write_all(head[done:])
        done = len(head)
    if done < len(head) + len(body):
        write_all(memoryview(body)[done - len(head) :])


def write_all(data: Union[bytes, memoryview]) -> None:
    done = os.write(1, data)
    while done < len(data):
        done += os.write(1, data[done:])


if __name__ == "__main__":
    main()
