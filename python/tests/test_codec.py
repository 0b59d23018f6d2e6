"""The codec: fast and careful, each against the other."""

from __future__ import annotations

import copy
import math
import pickle

import msgpack
import pytest
from codec_given import EXPORT, PID, PORT, REF, careful, decode, encode, keys, strict, values
from hypothesis import given
from hypothesis import strategies as st

import krait
from krait import _careful, _codec


@given(values)
def test_what_is_encoded_is_decoded_to_the_same_by_the_fast_and_by_the_careful_codec(x):
    data = encode(x)
    assert careful(x) == data
    assert strict(decode(data)) == strict(_careful.decode(data)) == strict(x)


@given(st.binary(max_size=60))
def test_random_bytes_raise_valueerror_or_typeerror_or_are_a_value(data):
    for read in (decode, _careful.decode):
        try:
            read(data)
        except (ValueError, TypeError):
            pass


@given(values, st.data())
def test_a_truncated_item_is_refused(x, data):
    whole = encode(x)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ValueError):
        decode(cut)


@given(keys, keys)
def test_keys_that_are_equal_have_one_hash(a, b):
    assert a != b or hash(a) == hash(b)
    assert (a == b) is not (a != b)


WIRE = [  # the table of frame.h, byte by byte
    (None, "c0"), (True, "c3"), (False, "c2"), (1, "01"), (-1, "ff"), (2**64 - 1, "cf" + "ff" * 8),
    (-(2**63), "d380" + "00" * 7), (1.5, "cb3ff8" + "00" * 6), ("a", "a161"), (b"a", "c40161"),
    (bytearray(b"a"), "c40161"), (memoryview(b"a"), "c40161"), ([1, 2], "920102"), ({"a": 1}, "81a16101"),
    (krait.Atom("ok"), "d5016f6b"), (krait.Atom("a"), "d40161"), (krait.Atom("é"), "d501c3a9"),
    ((), "d40290"), ((1, 2), "c703029201" + "02"), ((1,), "d5029101"),
    (2**64, "c70a0300" + "00" * 8 + "01"), (-(2**63) - 1, "c7090301" + "01" + "00" * 6 + "80"),
    (krait.Pid(b"ab"), "d5046162"), (krait.Reference(b"ab"), "d5056162"), (krait.Port(b"ab"), "d5066162"),
    (krait.Export(b"ab"), "d5076162"), (krait.Opaque(b"ab"), "d5086162"),
    (krait.ListKey([1]), "d5099101"), (krait.MapKey({1: 2}), "c7030a920102"),
    ({krait.ListKey([1]): 2}, "81d509910102"),
]  # fmt: skip


@pytest.mark.parametrize("value, data", WIRE, ids=[repr(value)[:40] for value, _ in WIRE])
def test_bytes_on_the_wire(value, data):
    assert encode(value).hex() == data
    assert careful(value).hex() == data
    back = bytes(value) if isinstance(value, (bytearray, memoryview)) else value
    assert strict(decode(bytes.fromhex(data))) == strict(back)


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: {(x,): 1}.popitem()[0]])
@pytest.mark.parametrize("depth", [1, 15, 16, 17, 31, 32, 33, 100, 510, 511, 1022, 1024, 1500])
def test_any_depth_travels(wrap, depth):
    value = 0
    for _ in range(depth):
        value = wrap(value)
    data = encode(value)
    assert careful(value) == data
    back = decode(data)
    for _ in range(depth):
        assert type(back) is type(value)
        (back,) = back.values() if isinstance(back, dict) else back
        (value,) = value.values() if isinstance(value, dict) else value
    assert back == 0


def test_what_was_too_deep_for_the_fast_path_does_not_close_it(monkeypatch):
    deep = shallow = ((1,), [(2,)])
    for _ in range(100):
        deep = (deep,)
    read, write = _codec.make_decoder(), _codec.Encoder().encode
    data = write(deep)
    assert read(data) == deep
    monkeypatch.setattr(_careful, "encode", None)
    monkeypatch.setattr(_careful, "decode", None)
    assert read(write(shallow)) == shallow


@pytest.mark.parametrize("kind", [list, tuple])
def test_beyond_the_limit_is_too_deep(kind):
    limited = _codec.Encoder(max_depth=600).encode
    value = 0
    for _ in range(600):
        value = kind([value])
    limited(value)
    with pytest.raises(krait.EncodeError) as told:
        limited(kind([value]))
    assert (told.value.kind, *told.value.details) == ("too_deep", 600)


def test_a_cycle_is_too_deep():
    a: list = []
    a.append(a)
    b: dict = {}
    b["x"] = ([b],)
    for value in (a, b):
        with pytest.raises(krait.EncodeError) as told:
            encode(value)
        assert (told.value.kind, *told.value.details) == ("too_deep", 2000)


def test_beyond_the_bytes_is_too_large():
    limited = _codec.Encoder(max_bytes=100)
    assert limited.encode(b"x" * 98) == b"\xc4\x62" + b"x" * 98
    assert limited.frame(2, 2**40, b"x" * 98)[-98:] == b"x" * 98
    for tried in (limited.encode, lambda x: limited.frame(2, 2**40, x)):
        with pytest.raises(krait.EncodeError) as told:
            tried(b"x" * 99)
        assert (told.value.kind, *told.value.details) == ("too_large", 101, 100)


@pytest.mark.parametrize("value", [b"x" * 99, "x" * 101, [0] * 100, [bytearray(200)], [memoryview(bytes(200))], krait.Opaque(bytes(99))])
def test_the_careful_encoder_stops_at_the_limit(value):
    with pytest.raises(krait.EncodeError) as told:
        careful(value, max_bytes=100)
    kind, size, limit = told.value.kind, *told.value.details
    assert kind == "too_large" and size > limit == 100


def test_the_careful_encoder_stops_before_it_has_written_it_all():
    value = 0
    for _ in range(60):
        value = [value, value]  # 2^60 zeros
    with pytest.raises(krait.EncodeError) as told:
        careful(value, max_bytes=1000)
    assert told.value.kind == "too_large" and told.value.details[0] < 1010


def test_long_bytes_are_not_copied_into_their_frame():
    value = bytes(_codec.APART_BYTES + 1)
    head, tail = _codec.Encoder().frame(2, 7, value)
    assert tail is value and decode(head + tail) == [2, 7, value]
    for limit, fits in ((len(value) + 5, True), (len(value) + 4, False)):
        limited = _codec.Encoder(max_bytes=limit)
        if fits:
            limited.frame(2, 7, value)
        else:
            with pytest.raises(krait.EncodeError) as told:
                limited.frame(2, 7, value)
            assert told.value.details == (len(value) + 5, limit)


def test_the_memory_of_a_large_result_is_given_back():
    encoder = _codec.Encoder(max_bytes=1 << 30)
    assert len(encoder.frame(2, 1, ["x" * (_codec.PACKER_KEEP + 1)])) > _codec.PACKER_KEEP
    assert encoder.frame(2, 1, (None,)) == b"\x93\x02\x01\xd5\x02\x91\xc0"


def test_floats_that_are_no_numbers_travel():
    assert math.isnan(decode(encode(math.nan)))
    assert decode(encode(-math.inf)) == -math.inf
    assert math.copysign(1, decode(encode(-0.0))) == -1


def test_the_atom_cache_is_bounded():
    read = _codec.make_decoder()
    for i in range(2 * _codec.ATOM_CACHE + 10):
        atom = read(b"\xc7\x06\x01" + f"{i:06}".encode())
        assert atom == f"{i:06}" and type(atom) is krait.Atom
    unpack = dict(zip(read.__code__.co_freevars, read.__closure__))["fast"].cell_contents
    hook = unpack.keywords["ext_hook"]
    cache = next(cell.cell_contents for cell in hook.__closure__ if isinstance(cell.cell_contents, dict))
    assert 0 < len(cache) <= _codec.ATOM_CACHE


def test_an_atom_is_its_text():
    atom = krait.Atom("ok")
    assert atom == "ok" and hash(atom) == hash("ok") and {"ok": 1}[atom] == 1
    assert repr(atom) == "krait.Atom('ok')" and str(atom) == "ok" and type(str(atom)) is str
    with pytest.raises(ValueError):
        krait.Atom("x" * 256)


def test_keys_of_lists_maps_and_tuples_live_together():
    a, b, c = krait.ListKey([1, 2]), (1, 2), krait.MapKey({1: 2, 3: 4})
    both = {a: "list", b: "tuple", c: "map"}
    assert both[krait.ListKey([1, 2])] == "list" and both[(1, 2)] == "tuple"
    assert both[krait.MapKey({3: 4, 1: 2})] == "map"
    assert hash(a) == hash(b) and a != b and b != a and not a == b and not b == a
    assert c != {1: 2, 3: 4} and dict(c) == {1: 2, 3: 4} and len(c) == 2 and c[1] == 2
    with pytest.raises(TypeError):
        krait.MapKey({1: []})


@pytest.mark.parametrize(
    "term, text",
    [
        (PID, "<krait.Pid krait@host 102.0>"),
        (REF, "<krait.Reference a@b 3.2.1>"),
        (PORT, "<krait.Port a@b 7>"),
        (EXPORT, "<krait.Export math:sqrt/1>"),
        (krait.Pid(b"\x83" + PID.data), "<krait.Pid krait@host 102.0>"),
        (krait.Pid(b"Xwrong"), "<krait.Pid (6 bytes)>"),
        (krait.Pid(b""), "<krait.Pid (0 bytes)>"),
        (krait.Export(b"q"), "<krait.Export (1 bytes)>"),
        (krait.Opaque(b"abc"), "<krait.Opaque (3 bytes)>"),
        (krait.MapKey({1: 2}), "krait.MapKey({1: 2})"),
        (krait.ListKey([1]), "krait.ListKey([1])"),
    ],
)
def test_terms_can_be_read(term, text):
    assert repr(term) == text


@pytest.mark.parametrize("term", [PID, REF, PORT, EXPORT, krait.Opaque(b"x"), krait.Atom("a"), krait.ListKey([1]), krait.MapKey({1: 2})])
def test_terms_can_be_copied_and_pickled(term):
    for other in (copy.deepcopy(term), pickle.loads(pickle.dumps(term))):
        assert other == term and type(other) is type(term) and hash(other) == hash(term)


def test_external_terms_are_immutable_and_compared_by_type():
    with pytest.raises(AttributeError):
        PID.data = b""
    with pytest.raises(AttributeError):
        del PID.data
    with pytest.raises(AttributeError):
        PID.other = 1
    assert krait.Pid(b"a") != krait.Port(b"a") and krait.Pid(b"a") != b"a"
    assert len({krait.Pid(b"a"), krait.Pid(b"a"), krait.Port(b"a")}) == 2


@pytest.mark.parametrize("data", ["c1", "d40261", "c7000200", "91", "dd7fffffff", "9190", "d40cff", "a1ff", "0000"])
def test_malformed_items_are_refused(data):
    for read in (decode, _careful.decode):
        if (read, data) == (decode, "9190"):
            continue
        try:
            value = read(bytes.fromhex(data))
        except (ValueError, TypeError):
            continue
        assert data == "9190" and value == [[]]


def test_one_float_of_32_bits_is_read():
    assert _careful.decode(bytes.fromhex("ca3fc00000")) == decode(msgpack.packb(1.5, use_single_float=True)) == 1.5
