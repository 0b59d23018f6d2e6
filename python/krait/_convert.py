"""What becomes of Python objects that msgpack does not know.

`simplify` takes one step from an object towards one that has a term: a registered encoder, else
the object's own `__krait__()`, else the plain value inside a subclass of a plain type (OrderedDict,
namedtuple, IntEnum, ...), else the struct or tensor that it stands for. Both encoders, the fast and the careful one, walk these steps.
"""

from __future__ import annotations

from typing import Any, Callable

from krait import _structs, _tensor
from krait._terms import Atom, Export, External, ListKey, MapKey, Opaque, Pid, Port, Reference

EXT_ATOM = 1
EXT_TUPLE = 2
EXT_BIGINT = 3
EXT_PID = 4
EXT_REF = 5
EXT_PORT = 6
EXT_EXPORT = 7
EXT_OPAQUE = 8
EXT_LISTKEY = 9
EXT_MAPKEY = 10
EXT_INPUT = 11
EXT_STRUCT = 12
EXT_TENSOR = 13
EXT_PART = 14

INT_MIN = -(2**63)  # msgpack's own integers; beyond them is EXT_BIGINT
INT_MAX = 2**64 - 1
SIMPLIFY_STEPS = 16  # an encoder that returns its own argument would go on for ever
WHERE_BYTES = 255  # transcode.h: the longest path, of which the end is kept
WHAT_CHARACTERS = 60  # transcode.h: `what` is at most 63 bytes

PLAIN = (type(None), bool, int, float, str, bytes, bytearray, memoryview, list, dict, tuple)

_encoders: dict[type, Callable[[Any], Any]] = {}


class EncodeError(Exception):
    """A value that has no term. `kind` and `details` are what the ERROR frame says of it:
    "unencodable" (where, what), "too_deep" (limit,) or "too_large" (bytes, limit)."""

    def __init__(self, kind: str, *details: Any) -> None:
        super().__init__(kind, *details)
        self.kind = kind
        self.details = details

    def is_well_formed(self) -> bool:
        """Whether it says what an ERROR frame can say."""
        if tuple(type(detail) for detail in self.details) != _DETAILS.get(self.kind):
            return False
        try:
            return all(len(str(detail).encode()) <= WHERE_BYTES for detail in self.details)
        except UnicodeEncodeError:
            return False

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(str(detail) for detail in self.details)}"


_DETAILS = {"unencodable": (str, str), "too_deep": (int,), "too_large": (int, int)}


class Unencodable(TypeError):
    """This object, wherever it stands; `what` is a type's name or a word that begins with ':'."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def register_encoder(type_: type, encoder: Callable[[Any], Any]) -> None:
    """From now on objects of `type_` and of its subclasses are sent as what `encoder(object)` returns.

    >>> register_encoder(complex, lambda z: (Atom("complex"), z.real, z.imag))
    """
    if not isinstance(type_, type):
        raise TypeError(f"a type is needed, got {type_!r}")
    if type_ is object or type_ in PLAIN or issubclass(type_, (Atom, External, ListKey, MapKey)):
        raise ValueError(f"{type_.__qualname__} cannot have an encoder of its own")
    if not callable(encoder):
        raise TypeError(f"a function is needed, got {encoder!r}")
    _encoders[type_] = encoder


def _encoder(cls: type) -> Callable[[Any], Any] | None:
    for base in cls.__mro__:
        if base in _encoders:
            return _encoders[base]
    return None


def has_encoder(cls: type) -> bool:
    """Whether the user has said how objects of that class are sent."""
    return bool(_encoders) and _encoder(cls) is not None


def type_name(value: object) -> str:
    """The name by which an error speaks of a value's type."""
    cls = type(value)
    name = cls.__qualname__
    module = getattr(cls, "__module__", None)  # a class that type() made may have none
    if isinstance(module, str) and module != "builtins":
        name = f"{module}.{name}"
    name = name.encode("ascii", "backslashreplace").decode()
    return name if len(name) <= WHAT_CHARACTERS else "..." + name[3 - WHAT_CHARACTERS :]


def big_integer(value: int) -> bytes:
    """The payload of EXT_BIGINT: a sign byte, then the magnitude, little-endian, no final zero."""
    magnitude = abs(value)
    return (b"\1" if value < 0 else b"\0") + magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "little")


def simplify(value: Any) -> Any:
    """A value nearer to a term; raises Unencodable. Never called with an object of an exactly plain
    type or of ours."""
    cls = type(value)
    if _encoders:
        encoder = _encoder(cls)
        if encoder is not None:
            return encoder(value)
    exactly = _structs.EXACTLY.get(cls)
    if exactly is not None:
        found = exactly(value)
        if found is not None:
            return found
    hook = getattr(cls, "__krait__", None)
    if hook is not None:
        return hook(value)
    # issubclass, for isinstance believes a mock's __class__
    if issubclass(cls, str):
        return str.__new__(Atom, value) if issubclass(cls, Atom) else str.__str__(value)
    if issubclass(cls, int):
        return int.__pos__(value)
    if issubclass(cls, float):
        return float.__pos__(value)
    if issubclass(cls, (bytes, bytearray)):
        return bytes(memoryview(value))
    for base in (dict, list, ListKey, tuple, MapKey):
        if issubclass(cls, base):
            return base(value)
    for term in (Pid, Reference, Port, Export, Opaque):
        if issubclass(cls, term):
            return term(value.data)
    for find in (_structs.plain, _tensor.plain):
        found = find(value)
        if found is not None:
            return found
    raise Unencodable(type_name(value))
