"""Tensors: {krait_tensor, Dtype, Shape, Binary} is a numpy array, or without numpy a memoryview.

    TENSOR -> decoded() -> numpy.ndarray over the payload, where it is; read-only
    numpy.ndarray -> payload() -> TENSOR

Where numpy is installed it is imported with the first tensor, so what a function is given does not depend
on what has run before. Without it, and for bf16 without ml_dtypes, a tensor is a memoryview over View, which
is the payload: so it is known when it comes back. Other memoryviews are bytes.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

# What a TENSOR says of its elements (frame.h), from 1; numpy's names and the formats of memoryviews.
DTYPES = ("s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64", "f16", "f32", "f64", "c64", "c128", "bf16")
_NUMPY = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128", "bfloat16",
)  # fmt: skip
_FORMATS = ("b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d", "B", "B", "H")
_CODES = {name: code for code, name in enumerate(_NUMPY, 1)} | {"bool": DTYPES.index("u8") + 1}
_FINER = ("ns", "ps", "fs", "as")  # units of a datetime64 that Python's datetime has not

DIMENSIONS_MAX = 32
BASES_MAX = 8  # views of views of a tensor that are followed


ARRAYS: list[type] = []  # numpy.ndarray, once one has been met
VIEWS: set[int] = set()  # which Views there are


class View(bytes):
    """The payload of a TENSOR that is seen through a memoryview, or came in an unusual form."""

    def __new__(cls, data: bytes) -> View:
        self = super().__new__(cls, data)
        VIEWS.add(id(self))
        return self

    def __del__(self) -> None:
        VIEWS.discard(id(self))


class Payload:
    """A value on its way into a TENSOR. `data` is its payload."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def _header(payload: bytes) -> tuple[int, tuple[int, ...], int, int]:
    """Dtype, shape, form, and where the elements begin."""
    code, dimensions, form = payload[:3]
    shape = struct.unpack_from(f">{dimensions}Q", payload, 8)
    return code, shape, form, (8 + 8 * dimensions + 15) // 16 * 16


def decoded(payload: bytes) -> Any:
    """The array, or memoryview, of a TENSOR. Raises ValueError or TypeError for what is none."""
    try:
        code, shape, form, at = _header(payload)
        name = _NUMPY[code - 1]
    except (IndexError, struct.error):
        raise ValueError("no tensor") from None
    if _numpy() is not None:
        try:
            dtype = _numpy().dtype(name)
        except TypeError:  # bfloat16, which ml_dtypes brings
            pass
        else:
            return _numpy().ndarray(shape, dtype, View(payload) if form else payload, at)
    view = memoryview(View(payload))[at:]
    try:
        return view.cast(_FORMATS[code - 1], shape) if len(view) else view
    except (ValueError, TypeError):  # a format that this Python has not
        return view


def decoded_apart(head: bytes, data: bytes) -> Any:
    """The same of a payload in two parts. An array is over the second, where that is."""
    try:
        code, shape, form, at = _header(head)
        name = _NUMPY[code - 1]
    except (IndexError, struct.error):
        raise ValueError("no tensor") from None
    numpy = _numpy()
    if form == 0 and numpy is not None:
        try:
            return numpy.ndarray(shape, numpy.dtype(name), data)
        except TypeError:  # bfloat16
            pass
    return decoded(head + data)


_missing = False


def _numpy() -> Any:
    """numpy, imported if it has to be; None: there is none."""
    global _missing
    if _missing and "numpy" not in sys.modules:
        return None
    try:
        import numpy

        if numpy.ndarray not in ARRAYS:
            ARRAYS.append(numpy.ndarray)
        return numpy
    except Exception:  # not installed, or broken
        _missing = True
        return None


def plain(value: Any) -> Any:
    """A Payload, or for numpy's numbers and the like what is in them; None: it is none of these, or has no
    term."""
    if "numpy" not in sys.modules:
        return None
    numpy, cls = _numpy(), type(value)
    if numpy is None:
        return None
    if issubclass(cls, numpy.ndarray):
        parts = array_parts(value)
        return None if parts is None else Payload(b"".join(parts))
    if not issubclass(cls, numpy.generic):
        return None
    item = value.item()
    if type(item) is int and issubclass(cls, (numpy.datetime64, numpy.timedelta64)):  # without its unit
        if issubclass(cls, numpy.timedelta64) or numpy.datetime_data(value.dtype)[0] not in _FINER:
            return None
        return value.astype("datetime64[us]").item()
    return item


def array_parts(array: Any) -> tuple[bytes, Any] | None:
    """The payload of an array, in two parts; None: it has none. The second is a view of the array where its
    elements stand in order, and else a copy."""
    dtype = array.dtype
    code = _CODES.get(dtype.name)
    if code is None or array.ndim > DIMENSIONS_MAX or hasattr(array, "mask"):  # one with holes in it
        return None
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    head = struct.pack(f">BBB5x{array.ndim}Q", code, array.ndim, _form(array), *array.shape)
    head += bytes(-len(head) % 16)
    if array.flags.c_contiguous and array.size:
        return head, array.reshape(-1).view("u1").data
    return head, array.tobytes()


def _form(array: Any) -> int:
    """The form of the tensor that the array is a view of."""
    base = array
    for _ in range(BASES_MAX):
        base = getattr(base, "base", None)
        if type(base) is View:
            return base[2]
        if base is None:
            break
    return 0


def view_payload(view: memoryview) -> bytes | None:
    """The payload, if this is the whole of a tensor that came."""
    try:
        whole = view.obj
        if type(whole) is View and view.nbytes == len(whole) - _header(whole)[3] and view.c_contiguous:
            return whole
    except ValueError:  # released
        pass
    return None
