"""An exception of the user's code, told without trusting it.

Its `__str__` may raise, its args may have no term or be gigabytes, its traceback may be endless.
Nothing here fails because of that, and all of it is bounded.
"""

from __future__ import annotations

import os
import reprlib
import sys
import traceback
from collections import deque
from types import TracebackType
from typing import Any, Callable

from krait._convert import type_name

NAME_CHARACTERS = 255
FILE_CHARACTERS = 1024  # of a file's path
MESSAGE_CHARACTERS = 16 << 10
TRACEBACK_CHARACTERS = 64 << 10
ARG_BYTES = 64 << 10  # an argument that takes more is told as its repr
ARG_REPR_CHARACTERS = 1 << 10
ARGS_BYTES = 256 << 10  # all of them together
ARGS_COUNT = 64
FRAMES = 500  # of a traceback
FRAMES_TOLD = 64  # frame.h: of those that are told one by one

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORTING = "<frozen importlib"
_MACHINERY = (f"{os.sep}importlib{os.sep}__init__.py", f"{os.sep}asyncio{os.sep}base_events.py")


class Failure:
    """What the ERROR frame of kind "python" says: type, module, message, traceback, `args`, each of
    them packed, and the frames of the stack."""

    __slots__ = ("args", "frames", "message", "module", "traceback", "type")

    def __init__(self, error: BaseException, pack: Callable[[Any], bytes]) -> None:
        cls = type(error)
        self.type = text(cls.__qualname__, NAME_CHARACTERS)
        module = getattr(cls, "__module__", None)  # a class that type() made may have none
        self.module = text(module, NAME_CHARACTERS) if isinstance(module, str) else ""
        self.message = message(error)
        self.traceback = formatted(error)
        self.args = packed_args(error, pack)
        self.frames = stack_frames(error)


def text(value: str, limit: int, keep_end: bool = False) -> str:
    """`value` as an exact str that is valid UTF-8, cut in the middle if its end matters too."""
    value = str.__str__(value)
    if len(value) > limit:
        if keep_end:
            half = limit // 2 - 8
            value = f"{value[:half]}\n  [...]\n{value[-half:]}"
        else:
            value = value[: limit - 3] + "..."
    return value.encode("utf-8", "backslashreplace").decode()


def message(error: BaseException) -> str:
    """str(error), whatever that does."""
    try:
        return text(str(error), MESSAGE_CHARACTERS)
    except BaseException:
        return f"<unprintable {text(type(error).__qualname__, NAME_CHARACTERS)}>"


def formatted(error: BaseException) -> str:
    """The traceback as text, without Krait's own frames and those of importlib and asyncio at its
    beginning."""
    begin = _beginning(error)
    try:
        lines = traceback.format_exception(type(error), error, begin, limit=-FRAMES)
        return text("".join(lines), TRACEBACK_CHARACTERS, keep_end=True)
    except BaseException:  # a chain of exceptions that is too long, a __str__ that exits
        return f"Traceback not available\n{type_name(error)}: {message(error)}\n"


def stack_frames(error: BaseException) -> list[list[Any]]:
    """[module, function, file, line] of where it was raised and of what called that, innermost first,
    beginning and end as in formatted()."""
    entry = _beginning(error)
    innermost: deque[TracebackType] = deque(maxlen=FRAMES_TOLD)
    while entry is not None:
        innermost.appendleft(entry)
        entry = entry.tb_next
    return [_frame(entry) for entry in innermost]


def _frame(entry: TracebackType) -> list[Any]:
    code = entry.tb_frame.f_code
    module = entry.tb_frame.f_globals.get("__name__")
    return [
        text(module, NAME_CHARACTERS) if isinstance(module, str) else "",
        text(getattr(code, "co_qualname", code.co_name), NAME_CHARACTERS),  # 3.11
        text(code.co_filename, FILE_CHARACTERS),
        entry.tb_lineno or 0,  # none in some generated code
    ]


def _beginning(error: BaseException) -> TracebackType | None:
    """The first entry that is the user's."""
    entry = error.__traceback__
    while entry is not None and _is_machinery(entry):
        entry = entry.tb_next
    return entry


def _is_machinery(entry: TracebackType) -> bool:
    filename = entry.tb_frame.f_code.co_filename
    if filename.startswith(_OWN_FOLDER):
        return True
    return filename.startswith(_IMPORTING) or filename.endswith(_MACHINERY)


def packed_args(error: BaseException, pack: Callable[[Any], bytes]) -> list[bytes]:
    """The exception's args, packed one by one; the repr of each that cannot be or is long."""
    packed: list[bytes] = []
    budget = ARGS_BYTES
    try:
        args = error.args
        count = len(args)
    except BaseException:
        return packed
    if not isinstance(args, tuple):
        return packed
    for arg in args[:ARGS_COUNT]:
        data = b""
        if not _is_long(arg):
            try:
                data = pack(arg)
            except BaseException:
                data = b""
        if not data or len(data) > ARG_BYTES:
            data = pack(represented(arg))
        budget -= len(data)
        if budget < 0:
            break
        packed.append(data)
    if len(packed) < count:
        packed.append(pack("..."))
    return packed


def _is_long(arg: Any) -> bool:
    try:
        return len(arg) > ARG_BYTES
    except BaseException:
        return False


def represented(value: Any) -> str:
    """repr(value), bounded, whatever that does."""
    if type(value) in (str, bytes, bytearray):
        value = value[:ARG_REPR_CHARACTERS]
    try:
        shorten = reprlib.Repr()
        shorten.maxstring = shorten.maxother = shorten.maxlong = ARG_REPR_CHARACTERS
        return text(shorten.repr(value), ARG_REPR_CHARACTERS)
    except BaseException:
        return f"<unprintable {type_name(value)}>"


def formatted_within(error: BaseException, limit: int) -> str:
    """The traceback, with its middle cut out if it is longer than `limit` characters."""
    return text(formatted(error), limit, keep_end=True)


def write_stderr(words: str) -> None:
    """The last words of a process, past every buffer: for ends that run no exit handlers."""
    try:
        sys.stderr.flush()
    except Exception:
        pass
    try:
        os.write(2, words.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
