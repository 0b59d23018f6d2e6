"""The Python end of the sides that the benchmark compares the node with.

Frames of a 4-byte length and a msgpack payload come in on descriptor 0 and go out on descriptor 1:
what an Elixir `Port` with `{:packet, 4}` speaks, and what bench_floor.c speaks over a socketpair. Each
frame is decoded, its value echoed and encoded again, as a worker of the node does it with the argument
of a call. The request is the node's CALL frame, the answer its RESULT frame (include/frame.h):

    [1, id, "bench_echo", "echo", [value], {}, nil]   ->   [2, id, value]

Nothing else happens here: no look-up, no exceptions, no cancelling. This is the floor.
"""

from __future__ import annotations

import os
import struct

import msgpack


def main() -> None:
    pack = msgpack.Packer(use_bin_type=True).pack
    unpack = msgpack.unpackb
    length = struct.Struct(">I")
    pending = b""
    while True:
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        pending = pending + chunk if pending else chunk
        at, end = 0, len(pending)
        while end - at >= 4:
            (size,) = length.unpack_from(pending, at)
            if end - at < 4 + size:
                break
            frame = unpack(pending[at + 4 : at + 4 + size], raw=False, strict_map_key=False)
            at += 4 + size
            answer = pack([2, frame[1], frame[4][0]])
            # One write an answer, also when several requests came in one read: an echo that gathers
            # its answers would measure something that no pool of synchronous workers does.
            write_all(length.pack(len(answer)) + answer)
        pending = pending[at:]


def write_all(data: bytes) -> None:
    done = os.write(1, data)
    while done < len(data):
        done += os.write(1, data[done:])


if __name__ == "__main__":
    main()
