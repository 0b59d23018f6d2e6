"""The fast codec: msgpack's C code, and hooks for what it does not know.

    node -> msgpack -> decode() -> list, dict, tuple, Atom, Pid ...      frame.h has the table
    value -> encode() -> msgpack -> node

The happy path is one call into C. Tuples, atoms and the other extensions come back to Python through
`ext_hook` and go out through `default`, with a further Unpacker or Packer for each level of tuples.
What can go wrong: nesting too deep for the C code, or a value without a term. Both end in _careful.py,
which succeeds slowly or says exactly what is wrong (EncodeError).

Depth: the node checks every result against `max_depth` again; so here only values that are too deep
for the fast path are measured.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import Any, Callable, Sequence

import msgpack

from krait import _careful
from krait._convert import (
    EXT_ATOM,
    EXT_BIGINT,
    EXT_LISTKEY,
    EXT_MAPKEY,
    EXT_PART,
    EXT_STRUCT,
    EXT_TENSOR,
    EXT_TUPLE,
    INT_MAX,
    INT_MIN,
    SIMPLIFY_STEPS,
    EncodeError,
    Unencodable,
    big_integer,
    has_encoder,
    simplify,
    type_name,
)
from krait._parts import Parted, part
from krait._structs import IN_KEY, MAPSET, Clash, Struct, made
from krait._tensor import ARRAYS, VIEWS, array_parts
from krait._terms import Atom, ListKey, MapKey

ATOM_CACHE = 4096  # atoms kept decoded; a pool speaks few, and a peer cannot make it grow further
NESTED_DECODE = 32  # tuples within tuples on the fast path: each level takes 41 KB of C stack
NESTED_ENCODE = 16  # and here each takes a Packer, which reserves 1 MB when it is first needed
APART_BYTES = 64 << 10  # bytes from here on are not copied into a frame but sent beside it
PACKER_KEEP = 4 << 20  # after a larger result the Packers go, for they never shrink

DEFAULT_MAX_DEPTH = 256
DEFAULT_MAX_RESULT_BYTES = 64 << 20


def make_decoder() -> Callable[[Any], Any]:
    """A function from a msgpack item (anything with the buffer interface) to its value. It raises
    ValueError or TypeError for what is no such item. Not for several threads at a time."""
    atoms: dict[bytes, Atom] = {}
    parts: Sequence[bytes] = ()  # of the frame that is being decoded, if it is known to have some
    level = sets = 0  # containers that are open; MapSets among them, which count their elements

    def hook(code: int, data: bytes) -> Any:
        nonlocal level
        if code == EXT_ATOM:
            try:
                return atoms[data]
            except KeyError:
                if len(atoms) >= ATOM_CACHE:
                    atoms.clear()
                atom = atoms[data] = str.__new__(Atom, data.decode())
                return atom
        if code == EXT_TUPLE or code == EXT_LISTKEY or code == EXT_MAPKEY:
            if level >= NESTED_DECODE:
                raise ValueError("nested too deep for the fast path")
            level += 1
            items = unpack(data)
            level -= 1
            if code == EXT_TUPLE:
                return tuple(items)
            if code == EXT_LISTKEY:
                return ListKey(items)
            return MapKey(_careful.distinct(list(zip(items[::2], items[1::2]))))
        if code == EXT_PART:
            return part(parts, data)
        return struct_of(data) if code == EXT_STRUCT else _careful.extension(code, data)

    def struct_of(data: bytes) -> Any:
        nonlocal level, sets
        if level >= NESTED_DECODE:
            raise ValueError("nested too deep for the fast path")
        is_set = data[0] > 0x9F or data[1] % IN_KEY == MAPSET  # many elements, or it says so
        level += 1
        sets += is_set
        items = unpack(data)
        sets -= is_set
        level -= 1
        if items[0] > IN_KEY and not sets and unpack is fast:
            raise Clash  # perhaps: in a dict, which fast() fills unseen
        return made(items)

    unpack = fast = partial(msgpack.unpackb, ext_hook=hook, strict_map_key=False)
    counting = partial(fast, object_pairs_hook=_careful.distinct)

    def decode(data: Any) -> Any:
        nonlocal level, sets, parts, unpack
        try:
            return unpack(data)
        except MemoryError:
            raise
        except Clash:
            pass
        except Exception:
            level = sets = 0
            if type(data) is Parted and not parts:  # found out so: other frames do not pay for that
                parts = data.parts
                try:
                    return decode(data)
                finally:
                    parts = ()
            return _careful.decode(data)
        level = sets = 0
        unpack = counting
        try:
            return unpack(data)
        except MemoryError:
            raise
        except Exception:
            level = sets = 0
            return _careful.decode(data)
        finally:
            unpack = fast

    return decode


def make_packer() -> tuple[Callable[[Any], bytes], Callable[[], None]]:
    """The function that packs a value, or raises an exception of any kind if it cannot, and the
    function that gives back the memory that a large value took. A memoryview is packed as its bytes before
    anybody can see that it is a View's."""
    packs: list[Callable[[Any], bytes]] = []
    level = 0
    ext, new = msgpack.ExtType, tuple.__new__  # ExtType() checks in Python what is known here

    def nested(code: int, items: list[Any]) -> Any:
        nonlocal level
        level += 1
        if level == len(packs):
            grow()
        data = packs[level](items)
        level -= 1
        return new(ext, (code, data))

    def default(value: Any) -> Any:
        for _ in range(SIMPLIFY_STEPS):
            cls = type(value)
            if cls is tuple:
                return nested(EXT_TUPLE, list(value))
            if cls is Atom:
                return new(ext, (EXT_ATOM, value.encode()))
            if cls is int:
                if INT_MIN <= value <= INT_MAX:
                    return value
                return new(ext, (EXT_BIGINT, big_integer(value)))
            if cls in _NATIVE:
                return value
            code = _careful.EXTERNAL_CODES.get(cls)
            if code is not None:
                return new(ext, (code, value.data))
            if cls is ListKey:
                return nested(EXT_LISTKEY, list(value))
            if cls is Struct:
                return nested(EXT_STRUCT, list(value))
            if cls is MapKey:
                return nested(EXT_MAPKEY, [part for pair in value.items() for part in pair])
            value = simplify(value)
        raise Unencodable(type_name(value))

    def grow() -> None:
        if len(packs) > NESTED_ENCODE:
            raise ValueError("nested too deep for the fast path")
        packs.append(msgpack.Packer(strict_types=True, use_bin_type=True, default=default).pack)

    def pack(value: Any) -> bytes:
        nonlocal level
        level = 0
        return packs[0](value)

    def trim() -> None:
        packs.clear()
        grow()

    grow()
    return pack, trim


_BIN_32 = struct.Struct(">BI")
_EXT_32 = struct.Struct(">BIB")
_NATIVE = frozenset((type(None), bool, float, str, bytes, bytearray, memoryview, list, dict))


class Encoder:
    """Values to msgpack within limits."""

    __slots__ = ("_max_bytes", "_max_depth", "_pack", "_trim")

    def __init__(
        self, max_depth: int = DEFAULT_MAX_DEPTH, max_bytes: int = DEFAULT_MAX_RESULT_BYTES
    ) -> None:
        self._max_depth = max_depth
        self._max_bytes = max_bytes
        self._pack, self._trim = make_packer()

    def encode(self, value: Any, root: str = "result") -> bytes:
        """The msgpack of `value`. Raises EncodeError, or what an encoder of the user's raised."""
        data = b""
        try:
            if not VIEWS:
                data = self._pack(value)
        except BaseException:  # what is wrong the slow way says, and without this one as its context
            pass
        if not data:
            data = self._slowly(value, root)
        return self.within_limits(data, len(data))

    def frame(
        self, type_: int, call_id: int, value: Any, root: str = "result"
    ) -> bytes | tuple[bytes, bytes]:
        """The frame [type, id, value], in two parts where that saves copying; raises as encode() does."""
        if type(value) is bytes and len(value) > APART_BYTES:
            self.within_limits(value, len(value) + 5)
            return self._head(type_, call_id) + _BIN_32.pack(0xC6, len(value)), value
        if type(value) is str and len(value) > APART_BYTES:
            try:
                text = value.encode()
            except UnicodeEncodeError:  # _careful.py says where
                return self._head(type_, call_id) + self._slowly(value, root)
            self.within_limits(text, len(text) + 5)
            return self._head(type_, call_id) + _BIN_32.pack(0xDB, len(text)), text
        if ARRAYS and type(value) in ARRAYS and value.nbytes > APART_BYTES and not has_encoder(type(value)):
            parts = array_parts(value)
            if parts is not None:
                size = len(parts[0]) + len(parts[1])
                self.within_limits(b"", size + 6)
                return self._head(type_, call_id) + _EXT_32.pack(0xC9, size, EXT_TENSOR) + parts[0], parts[1]
        data = b""
        try:
            if not VIEWS:
                data = self._pack([type_, call_id, value])
        except BaseException:  # as in encode()
            pass
        if not data:
            return self._head(type_, call_id) + self._slowly(value, root)
        if len(data) > self._max_bytes or len(data) > PACKER_KEEP:
            self._trim()
            return self.within_limits(data, len(data) - 2 - len(self._pack(call_id)))
        return data

    def _head(self, type_: int, call_id: int) -> bytes:
        return b"\x93" + self._pack(type_) + self._pack(call_id)

    def _slowly(self, value: Any, root: str) -> bytes:
        return _careful.encode(value, root, self._max_depth, self._max_bytes)

    def plain(self, value: Any) -> bytes:
        """The msgpack of a value that is known to have one and to be within limits; raises whatever
        the fast path raises if that was a mistake."""
        return self._pack(value)

    def within_limits(self, data: bytes, size: int) -> bytes:
        """`data`, which counts for `size`; raises EncodeError."""
        if size > self._max_bytes:
            raise EncodeError("too_large", size, self._max_bytes)
        return data
