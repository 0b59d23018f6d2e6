"""Terms that have no Python type of their own.

Atom is a str, so code that expects text just works. Pid, Reference, Port, Export and Opaque carry the
bytes of the external term unchanged: they are for passing on, comparing and printing. ListKey and
MapKey stand for a list or a map that is the key of a dict, which Python's own could not be.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ATOM_MAX_CHARACTERS = 255  # a limit of the BEAM


class Atom(str):
    """An atom: equal to its text and hashed as it, but sent back as an atom."""

    __slots__ = ()

    def __new__(cls, text: str) -> Atom:
        if len(text) > ATOM_MAX_CHARACTERS:
            raise ValueError(f"an atom has at most {ATOM_MAX_CHARACTERS} characters, got {len(text)}")
        return str.__new__(cls, text)

    def __repr__(self) -> str:
        return f"krait.Atom({str.__repr__(self)})"


class ListKey(tuple):  # type: ignore[type-arg]
    """A list that is a key. Hashed like the tuple of its elements, equal to other ListKeys only, so
    that the keys {1, 2} and [1, 2] can live in one dict."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListKey) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __repr__(self) -> str:
        return f"krait.ListKey({list(self)!r})"


class MapKey(Mapping):  # type: ignore[type-arg]
    """A map that is a key: immutable, its values hashable, equal irrespective of order, and equal to
    other MapKeys only."""

    __slots__ = ("_hash", "_items")

    def __init__(self, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = ()) -> None:
        self._items: dict[Any, Any] = dict(items)
        self._hash = hash(frozenset(self._items.items()))  # TypeError where a value is not hashable

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MapKey) and self._items == other._items

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return MapKey, (self._items,)  # the hash of a str is another one in each process

    def __repr__(self) -> str:
        return f"krait.MapKey({self._items!r})"


class External:
    """Bytes of an external term: immutable, compared by type and bytes."""

    __slots__ = ("data",)
    data: bytes

    def __init__(self, data: bytes) -> None:
        object.__setattr__(self, "data", bytes(data))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.data == other.data  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), self.data))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.data,)

    def __repr__(self) -> str:
        try:
            text = self._text()
        except (ValueError, IndexError, struct.error):
            text = f"({len(self.data)} bytes)"
        return f"<krait.{type(self).__name__} {text}>"

    def _text(self) -> str:
        return f"({len(self.data)} bytes)"


class Pid(External):
    """The identifier of a process. NEW_PID_EXT: 88, node, id:32, serial:32, creation:32."""

    __slots__ = ()

    def _text(self) -> str:
        node, at = _atom(_body(self.data, 88), 0)
        number, serial = struct.unpack_from(">II", _body(self.data, 88), at)
        return f"{node} {number}.{serial}"


class Reference(External):
    """NEWER_REFERENCE_EXT: 90, words:16, node, creation:32, the words, the lowest first."""

    __slots__ = ()

    def _text(self) -> str:
        body = _body(self.data, 90)
        (count,) = struct.unpack_from(">H", body)
        node, at = _atom(body, 2)
        words = struct.unpack_from(f">{count}I", body, at + 4)
        return f"{node} {'.'.join(str(word) for word in reversed(words))}"


class Port(External):
    """V4_PORT_EXT: 120, node, id:64, creation:32."""

    __slots__ = ()

    def _text(self) -> str:
        node, at = _atom(_body(self.data, 120), 0)
        return f"{node} {struct.unpack_from('>Q', _body(self.data, 120), at)[0]}"


class Export(External):
    """fun M:F/A. EXPORT_EXT: 113, module, function, SMALL_INTEGER_EXT."""

    __slots__ = ()

    def _text(self) -> str:
        body = _body(self.data, 113)
        module, at = _atom(body, 0)
        function, at = _atom(body, at)
        return f"{module}:{function}/{body[at + 1]}"


class Opaque(External):
    """A local fun, or a bit string whose length is no multiple of 8: comes back as it went."""

    __slots__ = ()


def _body(data: bytes, tag: int) -> bytes:
    """What follows the term's tag."""
    if data[:1] == b"\x83":  # a version byte, if somebody kept it
        data = data[1:]
    if data[0] != tag:
        raise ValueError("another term")
    return data[1:]


def _atom(body: bytes, at: int) -> tuple[str, int]:
    """The atom at `at`, and where it ends."""
    tag = body[at]
    if tag in (119, 115):  # SMALL_ATOM_UTF8_EXT, SMALL_ATOM_EXT
        size, at = body[at + 1], at + 2
    elif tag in (118, 100):  # ATOM_UTF8_EXT, ATOM_EXT
        size, at = struct.unpack_from(">H", body, at + 1)[0], at + 3
    else:
        raise ValueError("not an atom")
    return body[at : at + size].decode("utf-8" if tag > 115 else "latin-1"), at + size
