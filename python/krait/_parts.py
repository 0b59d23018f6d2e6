"""Frames in parts (frame.h): large binaries that were received to where they stay.

    channel -> Parted: the array, and its parts beside it -> decode() -> PART -> part()

A bin is the bytes object that the socket was read into, and a tensor is an array over it.
"""

from __future__ import annotations

from typing import Any, Sequence

from krait._tensor import decoded_apart

PART_BIN, PART_STR, PART_TENSOR = range(3)


class Parted(bytearray):
    """The body of a frame in parts: the array. `parts` is complete before anybody else sees it."""

    __slots__ = ("parts",)

    parts: list[bytes]


def part(parts: Sequence[bytes], payload: bytes) -> Any:
    """The value of a PART. Raises ValueError or IndexError for what is none."""
    data = parts[payload[0]]
    kind = payload[1]
    if kind == PART_BIN:
        return data
    if kind == PART_STR:
        return data.decode()
    if kind == PART_TENSOR:
        return decoded_apart(payload[2:], data)
    raise ValueError("no part")
