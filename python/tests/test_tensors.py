"""Tensors: what they are in Python, with numpy and without, and that they come back as they went."""

from __future__ import annotations

import datetime as d
import sys

import numpy
import pytest
from codec_given import careful, decode, encode
from hypothesis import given
from hypothesis import strategies as st

import krait
from krait import _codec, _tensor

TENSORS = list(zip(_tensor.DTYPES, _tensor._NUMPY))[:-1]
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def payload(dtype, shape, form=0):
    """What the node sends, and it begins at 0 so that its elements are 1, 2, 3 ..."""
    size = numpy.dtype(dict(TENSORS).get(dtype, "u2")).itemsize
    count = 1
    for n in shape:
        count *= n
    data = bytes(i % 120 for i in range(size * count))
    head = bytes([_tensor.DTYPES.index(dtype) + 1, len(shape), form, 0, 0, 0, 0, 0])
    head += b"".join(n.to_bytes(8, "big") for n in shape)
    whole = head + bytes(-len(head) % 16) + data
    return b"\xc9" + len(whole).to_bytes(4, "big") + b"\x0d" + whole, data


def short(data):
    """The same item with the shortest head."""
    import msgpack

    return msgpack.packb(msgpack.ExtType(13, data[6:]))


@given(st.sampled_from(TENSORS), shapes, st.integers(0, 3))
def test_a_tensor_is_an_array_over_the_bytes_that_came_and_comes_back(names, shape, form):
    dtype, numpys = names
    wire, data = payload(dtype, shape, form)
    array = decode(wire)
    assert type(array) is numpy.ndarray and array.dtype == numpys and array.shape == shape
    assert array.tobytes() == data
    assert array.base is not None and not array.flags.owndata and not array.flags.writeable
    assert array.ctypes.data % 16 == 0
    assert encode(array) == careful(array) == short(wire)
    assert encode([(array,)]) == careful([(array,)])
    assert encode(array[...]) == short(wire), "a view of it"
    del array


@given(st.sampled_from(_tensor.DTYPES), shapes, st.integers(0, 3))
def test_without_numpy_a_tensor_is_a_memoryview_and_comes_back(dtype, shape, form):
    wire, data = payload(dtype, shape, form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        view = decode(wire)
        assert type(view) is memoryview and view.tobytes() == data
        if 0 not in shape and dtype not in ("f16", "c64", "c128"):
            assert view.shape == shape
        assert encode(view) == short(wire)
        assert encode([{"k": (view, view)}]) == careful([{"k": (view, view)}])
        assert short(wire) in encode([{"k": (view, 1)}])
        assert _codec.Encoder().frame(2, 1, view) == b"\x93\x02\x01" + short(wire)
        part = view.cast("B") if view.ndim != 1 and len(data) else view[:0]
        assert encode(part) in (short(wire), encode(b""))
        view = part = None
    assert not _tensor.VIEWS


def test_memoryviews_that_python_made_are_bytes():
    assert encode(memoryview(b"abc")) == encode(b"abc")
    assert encode([memoryview(b"abcd").cast("i")]) == encode([b"abcd"])


def test_bfloat16_without_its_package_is_a_memoryview_of_its_bits():
    wire, data = payload("bf16", (2, 1))
    view = decode(wire)
    assert (type(view), view.format, view.shape) == (memoryview, "H", (2, 1))
    assert encode(view) == short(wire)


ARRAYS = [
    (numpy.arange(6, dtype="f4").reshape(2, 3), "f32", (2, 3)),
    (numpy.arange(6, dtype="f4").reshape(2, 3).T, "f32", (3, 2)),
    (numpy.arange(6, dtype="f4")[::2], "f32", (3,)),
    (numpy.arange(6, dtype=">i2"), "s16", (6,)),
    (numpy.array([True, False]), "u8", (2,)),
    (numpy.array(1.5), "f64", ()),
    (numpy.zeros((0, 3), "c16"), "c128", (0, 3)),
    (numpy.zeros((1, 2), "u4").view(type("Mine", (numpy.ndarray,), {})), "u32", (1, 2)),
]


@pytest.mark.parametrize("array, dtype, shape", ARRAYS, ids=[f"{dtype}{shape}" for _, dtype, shape in ARRAYS])
def test_arrays_that_python_made(array, dtype, shape):
    value = decode(encode(array))
    assert value.shape == shape and value.dtype == dict(TENSORS)[dtype]
    assert (value == numpy.asarray(array)).all()
    assert encode([array]) == careful([array])


def test_numbers_of_numpys_are_numbers():
    row = [numpy.int8(-3), numpy.uint64(2**64 - 1), numpy.float32(0.5), numpy.float64(0.1), numpy.bool_(True)]
    assert encode(row) == careful(row) == encode([-3, 2**64 - 1, 0.5, 0.1, True])
    text = [numpy.str_("a"), numpy.bytes_(b"b")]
    assert encode(text) == encode(["a", b"b"])
    for unit in ("s", "us", "ns"):
        assert encode(numpy.datetime64("2024-01-02T03:04:05", unit)) == encode(d.datetime(2024, 1, 2, 3, 4, 5))
    assert encode(numpy.datetime64("2024-01-02")) == encode(d.date(2024, 1, 2))
    assert encode({numpy.int64(1): 2}) == encode({1: 2})


def test_a_large_array_is_sent_from_where_it_is():
    array = numpy.arange(100_000, dtype="f8").reshape(100, 1000)
    decode(payload("u8", (1,))[0])  # from now on numpy is known
    head, body = _codec.Encoder().frame(2, 7, array)
    assert isinstance(body, memoryview) and numpy.shares_memory(numpy.frombuffer(body), array)
    assert bytes(head) + bytes(body) == b"\x93\x02\x07" + encode(array)
    with pytest.raises(krait.EncodeError) as told:
        _codec.Encoder(max_bytes=700_000).frame(2, 7, array)
    assert told.value.kind == "too_large"
    head, body = _codec.Encoder().frame(2, 7, array.T)
    assert bytes(head) + bytes(body) == b"\x93\x02\x07" + encode(array.T)
