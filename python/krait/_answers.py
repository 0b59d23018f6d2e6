"""What a call comes to, as frames to the node.

A result that has no term is itself an answer, and so is whatever else happens while it is made: an
exception of the user's is told without trusting it, on what is left of stack and memory.
"""

from __future__ import annotations

import struct
from typing import Any

from krait._codec import Encoder
from krait._convert import EncodeError, type_names
from krait._failure import Failure
from krait._frames import ERROR, ITEM, RESULT
from krait._resolve import NoFunction, NotAllowed
from krait._settings import Settings

_ARRAY_16 = struct.Struct(">BH")


class Answers:
    """The bodies of frames to the node. Not for two threads at a time, nor within itself: an encoder of
    the user's that waits for the node may find another call to be run."""

    __slots__ = ("_encoder",)

    def __init__(self, settings: Settings) -> None:
        self._encoder = Encoder(settings.max_depth, settings.max_result_bytes)

    def plain(self, type_: int, call_id: int, *rest: Any) -> bytes:
        """A frame of values that are known to have terms."""
        return self._encoder.plain([type_, call_id, *rest])

    def result(self, call_id: int, value: Any) -> bytes | tuple[bytes, bytes]:
        """RESULT, or the ERROR that says why there is none."""
        try:
            return self._encoder.frame(RESULT, call_id, value)
        except BaseException as error:
            return self.error(call_id, error, encoding=True)

    def item(self, call_id: int, value: Any) -> bytes | tuple[bytes, bytes]:
        """ITEM; raises what the encoding raises."""
        return self._encoder.frame(ITEM, call_id, value, "item")

    def error(self, call_id: int, error: BaseException, encoding: bool = False) -> bytes:
        """ERROR: `error` as the node wants to hear it. `encoding`: it came of encoding a value."""
        try:
            return self._error(call_id, self._told(error, encoding))
        except BaseException:
            return self._error(call_id, self._untold(error))

    def outcome(self, value: Any) -> bytes:
        """An element of a batch's RESULT: [true, value], or as outcome_error()."""
        try:
            return b"\x92\xc3" + self._encoder.encode(value)
        except BaseException as error:
            return self.outcome_error(error, encoding=True)

    def outcome_error(self, error: BaseException, encoding: bool = False) -> bytes:
        """An element of a batch's RESULT: [false, kind, ...]."""
        try:
            parts = self._told(error, encoding)
        except BaseException:
            parts = self._untold(error)
        return b"".join([bytes((0x91 + len(parts), 0xC2)), *parts])

    def batch(self, call_id: int, outcomes: list[bytes]) -> bytes:
        """The RESULT of a batch; ERROR if it is too large as a whole."""
        head = b"\x93" + self._encoder.plain(RESULT) + self._encoder.plain(call_id)
        body = _ARRAY_32.pack(0xDD, len(outcomes)) + b"".join(outcomes)
        try:
            return head + self._encoder.within_limits(body, len(body))
        except EncodeError as error:
            return self.error(call_id, error, encoding=True)

    def _error(self, call_id: int, parts: list[bytes]) -> bytes:
        pack = self._encoder.plain
        return b"".join([bytes((0x92 + len(parts),)), pack(ERROR), pack(call_id), *parts])

    def _told(self, error: BaseException, encoding: bool) -> list[bytes]:
        """Kind and details, each packed."""
        pack = self._encoder.plain
        # A public class: user code may have raised it in a call, or with nonsense in it.
        if encoding and isinstance(error, EncodeError) and error.is_well_formed():
            return [pack(error.kind), *(pack(detail) for detail in error.details)]
        if isinstance(error, NoFunction):
            return [pack("no_function")]
        if isinstance(error, NotAllowed):
            return [pack("not_allowed")]
        told = Failure(error, pack)
        words = ("python", told.type, told.module, told.message, told.traceback)
        args = b"".join([_ARRAY_16.pack(0xDC, len(told.args)), *told.args])
        return [*(pack(word) for word in words), args, pack(told.frames)]

    def _untold(self, error: BaseException) -> list[bytes]:
        pack = self._encoder.plain
        name = type_names(error)[0].encode("ascii", "replace").decode()
        return [pack(part) for part in ("python", name, "", f"<untold {name}>", "", [], [])]


_ARRAY_32 = struct.Struct(">BI")
