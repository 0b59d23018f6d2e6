"""The careful codec: the same bytes and values as _codec.py, without recursion and with a word for
every failure.

_codec.py is fast and stops at the first trouble: an object without a term, nesting that the C code of
msgpack does not take. Then it comes here. `encode` walks the value again with an explicit stack and
either succeeds or raises EncodeError with the path to the culprit; `decode` reads any depth of nesting.
Being independent, the two also check each other in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgpack

from krait._convert import (
    EXT_ATOM,
    EXT_BIGINT,
    EXT_EXPORT,
    EXT_INPUT,
    EXT_LISTKEY,
    EXT_MAPKEY,
    EXT_PART,
    EXT_OPAQUE,
    EXT_PID,
    EXT_PORT,
    EXT_REF,
    EXT_STRUCT,
    EXT_TENSOR,
    EXT_TUPLE,
    INT_MAX,
    INT_MIN,
    SIMPLIFY_STEPS,
    WHERE_BYTES,
    EncodeError,
    Unencodable,
    big_integer,
    simplify,
    type_name,
)
from krait._parts import part
from krait._structs import Clash, Struct, made
from krait._tensor import Payload, decoded, view_payload
from krait._terms import Atom, Export, ListKey, MapKey, Opaque, Pid, Port, Reference

KEY_CHARACTERS = 64  # transcode.h: a key's text in a path is cut to this

EXTERNAL_TYPES = {EXT_PID: Pid, EXT_REF: Reference, EXT_PORT: Port, EXT_EXPORT: Export, EXT_OPAQUE: Opaque}
EXTERNAL_CODES: dict[type, int] = {
    **{term: code for code, term in EXTERNAL_TYPES.items()},
    Payload: EXT_TENSOR,
}
# How a container is written: its extension, if any, around an array or a map.
CONTAINERS: dict[type, int | None] = {
    list: None,
    dict: None,
    tuple: EXT_TUPLE,
    ListKey: EXT_LISTKEY,
    MapKey: EXT_MAPKEY,
    Struct: EXT_STRUCT,
}


class _Writing:
    """A container whose elements are being written."""

    __slots__ = ("children", "code", "count", "is_map", "parts", "segment")

    def __init__(self, value: Any, segment: str) -> None:
        cls = type(value)
        self.segment = segment
        self.code = CONTAINERS[cls]
        self.is_map = cls is dict
        self.parts: list[bytes] = []
        if cls in (dict, MapKey):
            pairs = list(value.items())
            self.count = len(pairs) if self.is_map else 2 * len(pairs)
            self.children = _pairs(pairs)
        elif cls is Struct:
            self.count = len(value)
            self.children = iter([(_key_segment(item), item) for item in value])
        else:
            items = list(value)
            self.count = len(items)
            self.children = iter([(f"[{i}]", item) for i, item in enumerate(items)])


def _pairs(pairs: list[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    for key, value in pairs:
        segment = _key_segment(key)
        yield segment, key
        yield segment, value


def encode(value: Any, root: str, max_depth: int, max_bytes: int) -> bytes:
    """The msgpack of `value`; raises EncodeError. What an encoder or a `__krait__` of the user's raises
    goes through. `root` is the first word of paths."""
    packer = msgpack.Packer(strict_types=True)
    stack: list[_Writing] = []
    segment, size = root, 0
    while True:
        try:
            value = _plain(value)
            cls = type(value)
            if cls in CONTAINERS:
                if len(stack) >= max_depth:
                    raise EncodeError("too_deep", max_depth)
                stack.append(_Writing(value, segment))
                size += 1
            else:
                data = _leaf(packer, value, max_bytes)
                size += len(data)
                if not stack:
                    break
                stack[-1].parts.append(data)
        except Unencodable as error:
            raise EncodeError("unencodable", _where(stack, segment), error.what) from None
        if size > max_bytes:
            raise EncodeError("too_large", size, max_bytes)
        while True:  # on to the next child; on the way up, close what is complete
            top = stack[-1]
            try:
                segment, value = next(top.children)
                break
            except StopIteration:
                pass
            stack.pop()
            data = _close(packer, top)
            if not stack:
                break
            stack[-1].parts.append(data)
        if not stack:
            break
    if len(data) > max_bytes:
        raise EncodeError("too_large", len(data), max_bytes)
    return data


def _plain(value: Any) -> Any:
    """Simplified until it is a container or a leaf."""
    for _ in range(SIMPLIFY_STEPS):
        cls = type(value)
        if cls in CONTAINERS or cls in _LEAVES or cls in EXTERNAL_CODES:
            return value
        value = simplify(value)
    raise Unencodable(type_name(value))


_LEAVES = frozenset((type(None), bool, int, float, str, bytes, bytearray, memoryview, Atom))


def _leaf(packer: Any, value: Any, max_bytes: int) -> bytes:
    """A value without elements."""
    cls = type(value)
    if cls in (str, Atom):
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise Unencodable(":invalid_utf8") from None
        if len(data) > max_bytes:
            raise EncodeError("too_large", len(data), max_bytes)
        return packer.pack(msgpack.ExtType(EXT_ATOM, data)) if cls is Atom else packer.pack(value)
    if cls is int and not INT_MIN <= value <= INT_MAX:
        return packer.pack(msgpack.ExtType(EXT_BIGINT, big_integer(value)))
    if cls in EXTERNAL_CODES:
        return packer.pack(msgpack.ExtType(EXTERNAL_CODES[cls], value.data))
    if cls is memoryview:
        payload = view_payload(value)
        if payload is not None:
            return packer.pack(msgpack.ExtType(EXT_TENSOR, payload))
        try:
            value = value.tobytes()
        except ValueError:  # released
            raise Unencodable(type_name(value)) from None
    if cls in (bytes, bytearray, memoryview) and len(value) > max_bytes:
        raise EncodeError("too_large", len(value), max_bytes)
    return packer.pack(value)


def _close(packer: Any, done: _Writing) -> bytes:
    header = packer.pack_map_header if done.is_map else packer.pack_array_header
    data: bytes = header(done.count) + b"".join(done.parts)
    return data if done.code is None else packer.pack(msgpack.ExtType(done.code, data))


def _key_segment(key: Any) -> str:
    if isinstance(key, str):
        return "." + str.__str__(key)[:KEY_CHARACTERS]
    try:
        text = repr(key)
    except Exception:
        text = f"<{type_name(key)}>"
    return f"[{text[:KEY_CHARACTERS]}]"


def _where(stack: list[_Writing], segment: str) -> str:
    path = "".join([writing.segment for writing in stack] + [segment])
    data = path.encode("utf-8", "backslashreplace")
    if len(data) > WHERE_BYTES:
        data = b"..." + data[3 - WHERE_BYTES :]
    return data.decode("utf-8", "ignore")


class _Reading:
    """A container whose elements are being read: `missing` more of them."""

    __slots__ = ("code", "is_map", "items", "missing", "structs")

    def __init__(self, code: int | None, is_map: bool, count: int, structs: bool) -> None:
        self.code = code
        self.structs = structs
        self.is_map = is_map
        self.missing = 2 * count if is_map else count
        self.items: list[Any] = []

    def value(self) -> Any:
        items = self.items
        if self.is_map:
            return distinct(list(zip(items[::2], items[1::2])))
        if self.code == EXT_TUPLE:
            return tuple(items)
        if self.code == EXT_LISTKEY:
            return ListKey(items)
        if self.code == EXT_MAPKEY:
            return MapKey(distinct(list(zip(items[::2], items[1::2]))))
        if self.code == EXT_STRUCT:
            return made(items, self.structs)
        return items


def distinct(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """The dict; raises Clash if two of its keys are one."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Clash
    return value


_SIZES = {  # first byte: (kind, format of the length)
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_CONTAINER_CODES = (EXT_TUPLE, EXT_LISTKEY, EXT_MAPKEY, EXT_STRUCT)


def decode(data: Any) -> Any:
    """The value of one msgpack item that fills `data`; raises ValueError or TypeError if it is none."""
    try:
        return _decode(data, True, getattr(data, "parts", ()))
    except Clash:
        pass
    try:
        return _decode(data, False, getattr(data, "parts", ()))
    except Clash:
        raise ValueError("a map or set with a key twice") from None


def _decode(data: Any, structs: bool, parts: Sequence[bytes]) -> Any:
    """The same; without `structs` those in keys stay maps. Raises Clash, too."""
    stack: list[_Reading] = []
    data = memoryview(data)
    code: int | None = None  # of the extension whose array comes next
    at = 0
    while True:
        try:
            kind, item, at = _item(data, at)
        except (struct.error, IndexError):
            raise ValueError("msgpack: cut off") from None
        if code is not None and kind != "array":
            raise ValueError("msgpack: this extension holds an array")
        if kind in ("array", "map"):
            if item > len(data):
                raise ValueError("msgpack: more elements than bytes")
            stack.append(_Reading(code, kind == "map", item, structs))
            code = None
        elif kind == "ext" and item[0] in _CONTAINER_CODES:
            code = item[0]
            continue
        else:
            if kind == "ext":
                item = part(parts, item[1]) if item[0] == EXT_PART else extension(*item)
            if not stack:
                break
            stack[-1].items.append(item)
            stack[-1].missing -= 1
        while stack and stack[-1].missing == 0:
            item = stack.pop().value()
            if stack:
                stack[-1].items.append(item)
                stack[-1].missing -= 1
        if not stack:
            break
    if at != len(data):
        raise ValueError("msgpack: bytes left over")
    return item


def _item(data: memoryview, at: int) -> tuple[str, Any, int]:
    """What stands at `at`: ("value", it), ("array" or "map", count) or ("ext", (code, payload)), and
    where it ends; for the extensions that hold an array, where that begins."""
    first = data[at]
    at += 1
    if first <= 0x7F:
        return "value", first, at
    if first >= 0xE0:
        return "value", first - 256, at
    if first in _CONSTANTS:
        return "value", _CONSTANTS[first], at
    if first in _NUMBERS:
        (value,) = struct.unpack_from(_NUMBERS[first], data, at)
        return "value", value, at + struct.calcsize(_NUMBERS[first])
    if first <= 0x8F:
        kind, size = "map", first & 0x0F
    elif first <= 0x9F:
        kind, size = "array", first & 0x0F
    elif first <= 0xBF:
        kind, size = "str", first & 0x1F
    elif 0xD4 <= first <= 0xD8:
        kind, size = "ext", 1 << (first - 0xD4)
    elif first in _SIZES:
        kind, layout = _SIZES[first]
        (size,) = struct.unpack_from(layout, data, at)
        at += struct.calcsize(layout)
    else:
        raise ValueError(f"msgpack: no type begins with {first:#x}")
    if kind in ("array", "map"):
        return kind, size, at
    code = 0
    if kind == "ext":
        (code,) = struct.unpack_from(">b", data, at)
        at += 1
    if at + size > len(data):
        raise IndexError
    if kind == "ext":
        return kind, (code, b"" if code in _CONTAINER_CODES else bytes(data[at : at + size])), at + (
            0 if code in _CONTAINER_CODES else size
        )
    payload = bytes(data[at : at + size])
    return "value", payload.decode() if kind == "str" else payload, at + size


def extension(code: int, data: bytes) -> Any:
    """The value of an extension that holds no other values."""
    if code == EXT_ATOM:
        return str.__new__(Atom, data.decode())
    if code == EXT_BIGINT:
        magnitude = int.from_bytes(data[1:], "little")
        return -magnitude if data[0] else magnitude
    if code in EXTERNAL_TYPES:
        return EXTERNAL_TYPES[code](data)
    if code == EXT_INPUT:
        from krait._input import Input  # late, for it needs this module

        return Input(Pid(data))
    if code == EXT_TENSOR:
        return decoded(data)
    raise ValueError(f"msgpack: extension {code} is not one of Krait's")
