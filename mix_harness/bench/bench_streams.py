"""What both sides of streams.exs send: items from a generator, one at a time.

As a program it is the end of a raw Elixir `Port` with `{:packet, 4}`: for each request "KIND|COUNT" it
packs the same items with msgpack and writes each as it comes, as a generator's items are worth sending
when they are there. No credit, no cancelling, no errors: the least that a stream can be.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, Union

KILOBYTE = bytes(range(256)) * 4
MEGABYTE = KILOBYTE * 1024


def items(kind: str, count: int) -> Iterator[Any]:
    if kind == "a row, a small map":
        for i in range(count):
            yield {"id": i, "name": "krait", "values": [1, 2, 3]}
    elif kind == "an integer":
        yield from range(count)
    else:
        block = KILOBYTE if kind == "1 KB" else MEGABYTE
        for _ in range(count):
            yield block


def main() -> None:
    import msgpack

    pack = msgpack.Packer(use_bin_type=True).pack
    length = struct.Struct(">I").pack
    while True:
        head = os.read(0, 4)
        if len(head) < 4:
            return
        kind, count = os.read(0, int.from_bytes(head, "big")).decode().rsplit("|", 1)
        for item in items(kind, int(count)):
            packed = pack(item)
            if len(packed) < 1 << 16:
                write_all(length(len(packed)) + packed)
            else:  # without copying it
                write_all(length(len(packed)))
                write_all(memoryview(packed))


def write_all(data: Union[bytes, memoryview]) -> None:
    done = os.write(1, data)
    while done < len(data):
        done += os.write(1, data[done:])


if __name__ == "__main__":
    main()
