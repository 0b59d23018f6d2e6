"""Structs and tensors: what they are in Python, and that they come back as they went."""

from __future__ import annotations

import copy
import datetime as d
import pickle
import sys
import zoneinfo
from decimal import Decimal

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_codec import careful, decode, encode, keys, leaves

import krait
from krait import _careful, _codec, _structs, _tensor

UTC = d.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

YEARS, MONTHS, HOURS, SIXTY = st.integers(1, 9999), st.integers(1, 12), st.integers(0, 23), st.integers(0, 59)
MICROS = st.integers(0, 999999) | st.just(0)


def days(draw):
    value = draw(st.dates())
    return [value.year, value.month, value.day]


def clock(draw):
    return [draw(HOURS), draw(SIXTY), draw(SIXTY), draw(MICROS), draw(st.integers(0, 6))]


ZONES = ["Etc/UTC", "UTC", "Europe/Berlin", "America/New_York", "Europe/Dublin", "Asia/Kathmandu", "Nowhere/At_All", ""]


@st.composite
def structs(draw):
    """What stands in a STRUCT of the node's."""
    kind = draw(st.integers(1, 6))
    if kind == 1:
        return [kind, *days(draw)]
    if kind == 2:
        return [kind, *clock(draw)]
    if kind == 3:
        return [kind, *days(draw), *clock(draw)]
    if kind == 4:
        offsets = draw(st.sampled_from([(0, 0, "UTC"), (3600, 0, "CET"), (3600, 3600, "CEST"), (-18000, 0, "EST")]))
        if draw(st.booleans()):
            offsets = draw(st.integers(-40000, 40000)), draw(st.integers(-40000, 40000)), draw(st.text(max_size=5))
        return [kind, *days(draw), *clock(draw), *offsets[:2], draw(st.sampled_from(ZONES)), offsets[2]]
    if kind == 5:
        coef = draw(st.integers(0, 2**2048 - 1) | st.integers(0, 100) | st.sampled_from(["NaN", "inf"]))
        exp = 0 if isinstance(coef, str) else draw(st.integers(-400_000_000, 400_000_000) | st.integers(-9, 9))
        return [kind, draw(st.sampled_from([1, -1])), exp, coef]
    return [kind, draw(st.sampled_from([0, 2])), *draw(st.frozensets(keys, max_size=4))]


def on_the_wire(items, in_key=False):
    """The bytes of a STRUCT."""
    return careful(_structs.Struct([items[0] + 16 * in_key, *items[1:]]))


@given(structs())
def test_every_struct_comes_back_as_it_went(items):
    data = on_the_wire(items)
    for read in (decode, _careful.decode):
        value = read(data)
        assert isinstance(value, (d.date, d.time, Decimal, set))
        again = pickle.loads(pickle.dumps(value))
        assert type(again) is type(value)
        for same in (value, again, copy.copy(value), copy.deepcopy(again)):
            for write in (encode, careful):
                assert unordered(write(same)) == unordered(data)
                assert unordered(write([same])) == unordered(b"\x91" + data)


def unordered(data):
    """The elements of a set have no order."""
    return sorted(data)


@given(st.lists(structs(), max_size=6, unique_by=repr))
def test_every_struct_that_is_a_key_comes_back_as_it_went_whatever_else_is_a_key(found):
    """Equal keys, such as the same moment in two zones, are not lost."""
    wire = bytes([0x80 + len(found)]) + b"".join(on_the_wire(items, True) + bytes([i]) for i, items in enumerate(found))
    for read in (decode, _careful.decode):
        value = read(wire)
        assert list(value.values()) == list(range(len(found)))
        back = [plain_struct(key) for key in value]
        assert back == [plain(items) for items in found]


CLASHES = [
    [[5, 1, 0, 1], [5, 1, -1, 10]],
    [[2, 1, 0, 0, 0, 0], [2, 1, 0, 0, 0, 6], [2, 1, 0, 0, 0, 3]],
    [[4, 2024, 7, 1, 12, 0, 0, 0, 0, 3600, 3600, "Europe/Berlin", "CEST"],
     [4, 2024, 7, 1, 10, 0, 0, 0, 0, 0, 0, "Etc/UTC", "UTC"]],
    [[6, 0, 1], [6, 2, 1]],
]  # fmt: skip


@pytest.mark.parametrize("found", CLASHES, ids=range(len(CLASHES)))
def test_keys_that_are_equal_in_python_alone_are_maps_for_once(found):
    parts = [on_the_wire(items, True) for items in found]
    pairs = b"".join(part + b"\x00" for part in parts)
    for wire in (
        bytes([0x80 + len(parts)]) + pairs,
        b"\x91" + bytes([0x80 + len(parts)]) + pairs,
        tuple_of(bytes([0x80 + len(parts)]) + pairs),
        b"\xc7" + bytes([3 + len(b"".join(parts)), 12, 0x92 + len(parts), 6, 0]) + b"".join(parts),
    ):
        for read in (decode, _careful.decode):
            value = read(wire)
            while len(value) == 1:
                (value,) = value
            assert {type(key) for key in value} == {krait.MapKey} and len(value) == len(found)
            assert sorted(map(repr, value)) == sorted(repr(plain(items)) for items in found)
        assert decode(careful({1: 2})) == {1: 2}, "the decoder is as good as new"


def tuple_of(part):
    return b"\xc7" + bytes([len(part) + 1, 2, 0x91]) + part


def test_one_and_the_decimal_one_are_two_keys():
    wire = b"\x82\x01\xa1a" + on_the_wire([5, 1, 0, 1], True) + b"\xa1b"
    for read in (decode, _careful.decode):
        value = read(wire)
        assert value[1] == "a" and [x for x in value.values()] == ["a", "b"]


def plain(items):
    """What a map that stands for a STRUCT would say."""
    return _structs._as_map(items[0], list(items))


def plain_struct(key):
    if isinstance(key, krait.MapKey):
        return key
    items = list(_structs.plain(key))
    return _structs._as_map(items[0] & 15, items)


aware = st.datetimes(
    min_value=d.datetime(2, 1, 1),
    max_value=d.datetime(9998, 1, 1),
    timezones=st.sampled_from([UTC, BERLIN, zoneinfo.ZoneInfo("Europe/Dublin"), d.timezone(d.timedelta(hours=-3.5))]),
)
made = (
    st.dates()
    | st.times()
    | st.datetimes()
    | aware
    | st.decimals(allow_nan=False)
    | st.sampled_from([Decimal("NaN"), Decimal("-NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("-0")])
    | st.frozensets(leaves.filter(lambda x: x == x), max_size=3)
)


@given(made)
def test_what_is_made_in_python_is_the_same_value_again(x):
    data = encode(x)
    assert careful(x) == data
    again = decode(data)
    assert again == x or x != x
    assert unordered(encode(again)) == unordered(data)
    assert isinstance(again, type(x).__mro__[0] if not isinstance(x, frozenset) else frozenset)
    assert encode({x: [x], (1, x): x}) == careful({x: [x], (1, x): x})


TABLE = [  # (a STRUCT, repr of the value)
    ([1, 2024, 2, 29], "datetime.date(2024, 2, 29)"),
    ([2, 1, 2, 3, 0, 0], "datetime.time(1, 2, 3)"),
    ([2, 1, 2, 3, 4, 6], "datetime.time(1, 2, 3, 4)"),
    ([2, 1, 2, 3, 0, 6], "Time(1, 2, 3)"),
    ([2, 1, 2, 3, 4000, 3], "Time(1, 2, 3, 4000)"),
    ([3, 2024, 2, 29, 1, 2, 3, 0, 0], "datetime.datetime(2024, 2, 29, 1, 2, 3)"),
    ([3, 2024, 2, 29, 1, 2, 3, 0, 1], "DateTime(2024, 2, 29, 1, 2, 3)"),
    ([4, 2024, 2, 29, 1, 2, 3, 0, 0, 0, 0, "Etc/UTC", "UTC"],
     "datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.timezone.utc)"),
    ([4, 2024, 10, 27, 2, 30, 0, 0, 0, 3600, 0, "Europe/Berlin", "CET"],
     "datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo(key='Europe/Berlin'))"),
    ([4, 2024, 10, 27, 2, 30, 0, 0, 0, 3600, 3600, "Europe/Berlin", "CEST"],
     "datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo(key='Europe/Berlin'))"),
    ([4, 2024, 1, 1, 2, 30, 0, 0, 0, 3600, 3600, "Europe/Berlin", "CEST"],
     "datetime.datetime(2024, 1, 1, 2, 30, tzinfo=krait.Zone('Europe/Berlin', 'CEST', 3600, 3600))"),
    ([4, 2024, 1, 1, 2, 30, 0, 0, 0, 60, 0, "/etc/passwd", ""],
     "datetime.datetime(2024, 1, 1, 2, 30, tzinfo=krait.Zone('/etc/passwd', '', 60, 0))"),
    ([5, -1, -2, 150], "Decimal('-1.50')"),
    ([5, 1, 3, 0], "Decimal('0E+3')"),
    ([5, -1, 0, "inf"], "Decimal('-Infinity')"),
    ([5, 1, 0, "NaN"], "Decimal('NaN')"),
    ([6, 0, 1], "{1}"),
    ([6, 2, 1], "MapSet({1})"),
    ([22, 0, 1], "frozenset({1})"),
    ([22, 2, 1], "FrozenMapSet({1})"),
]  # fmt: skip


@pytest.mark.parametrize("items, text", TABLE)
def test_each_struct_is_what_one_expects(items, text):
    for read in (decode, _careful.decode):
        value = read(careful(_structs.Struct(items)))
        assert repr(value) == text
        assert read(b"\x91" + careful(_structs.Struct(items))) == [value] or value != value


def test_an_instant_in_a_zone_of_its_own_is_that_instant():
    zone = krait.Zone("Mars/Olympus", "MO", 3600, 1800)
    there = krait.DateTime(2024, 1, 1, 12, tzinfo=zone, precision=3)
    assert there == d.datetime(2024, 1, 1, 10, 30, tzinfo=UTC)
    assert there.astimezone(UTC) == there and d.datetime(2024, 1, 1, 10, 30, tzinfo=UTC).astimezone(zone) == there
    assert (there.tzname(), there.dst()) == ("MO", d.timedelta(minutes=30))
    assert zone == pickle.loads(pickle.dumps(zone)) != krait.Zone("Mars/Olympus", "MO", 3600, 1801)
    assert len({zone, copy.deepcopy(zone)}) == 1


def test_the_precision_is_that_of_the_object_and_not_of_what_is_computed_from_it():
    at = krait.DateTime(2024, 1, 1, precision=3)
    assert sent(at)[-1] == 3 and sent(copy.copy(at))[-1] == 3
    later = at + d.timedelta(microseconds=1)
    assert sent(later)[-1] == 6 and sent(at.replace(year=2023))[-1] in (0, 3)
    assert sent(krait.Time(1, precision=2))[-1] == 2 and sent(krait.Time(1))[-1] == 0
    for wrong in (7, -1, "3", 1.0, True):
        with pytest.raises(ValueError):
            krait.Time(1, precision=wrong)
    at.precision = 99  # of no use, and no harm
    assert sent(at)[-1] == 0


def sent(value):
    return list(_structs.plain(value))


ZONED = [  # (what is sent of it, a datetime)
    ([4, 2024, 1, 1, 0, 0, 0, 0, 0, 0, 0, "Etc/UTC", "UTC"], d.datetime(2024, 1, 1, tzinfo=UTC)),
    ([4, 2024, 1, 1, 0, 0, 0, 0, 0, 0, 0, "Etc/UTC", "UTC"], d.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC"))),
    ([4, 2024, 7, 1, 0, 0, 0, 0, 0, 3600, 3600, "Europe/Berlin", "CEST"], d.datetime(2024, 7, 1, tzinfo=BERLIN)),
    # No name: UTC, as in DateTime.from_iso8601/1.
    ([4, 2023, 12, 31, 23, 0, 0, 5, 6, 0, 0, "Etc/UTC", "UTC"],
     d.datetime(2024, 1, 1, 0, 0, 0, 5, d.timezone(d.timedelta(hours=1)))),
    ([4, 2023, 12, 31, 23, 0, 0, 0, 0, 0, 0, "Etc/UTC", "UTC"],
     d.datetime(2024, 1, 1, tzinfo=d.timezone(d.timedelta(hours=1), "CET"))),
]  # fmt: skip


@pytest.mark.parametrize("items, value", ZONED)
def test_time_zones_that_python_made(items, value):
    assert sent(value) == items


class Pytz(d.tzinfo):
    """As pytz has them: `zone` is the name."""

    zone = "Europe/Berlin"

    def utcoffset(self, when):
        return d.timedelta(hours=1)

    def dst(self, when):
        return None

    def tzname(self, when):
        return "CET"


class Bare(d.tzinfo):
    """The least that a time zone can be."""

    def __init__(self, offset):
        self.offset = offset

    def utcoffset(self, when):
        return self.offset


def test_time_zones_of_other_makes():
    assert sent(d.datetime(2024, 1, 1, tzinfo=Pytz()))[9:] == [3600, 0, "Europe/Berlin", "CET"]
    assert sent(d.datetime(2024, 1, 1, tzinfo=Bare(None)))[0] == _structs.NAIVE
    zone = Pytz()
    for name in ("x" * 65, "\ud800" * 9, 5, b"x"):
        zone.zone = name
        assert sent(d.datetime(2024, 1, 1, 1, tzinfo=zone))[9:] == [0, 0, "Etc/UTC", "UTC"]
    for broken in (krait.Zone("x", "y", 86400, 0), krait.Zone("x", 7, 0, 0), krait.Zone(None, "y", 0, 0)):
        try:
            assert sent(d.datetime(2024, 1, 1, 1, tzinfo=broken))[11] == "Etc/UTC"
        except (ValueError, TypeError):  # Python's own, of such an offset or name
            pass


class Stamp(d.datetime):
    """As pandas' Timestamp."""

    nanosecond = 5


class NotATime(d.datetime):
    """As pandas' NaT."""

    year = month = day = float("nan")


class Bag(set):
    pass


class Money(Decimal):
    pass


def test_subclasses_are_sent_as_what_they_extend():
    assert encode(Stamp(2024, 1, 1)) == encode(d.datetime(2024, 1, 1))
    assert encode(Bag([1])) == encode({1})
    assert encode(Money("1.5")) == encode(Decimal("1.5"))
    assert encode(krait.MapSet([1])) != encode({1})


UNENCODABLE = [
    (d.time(1, tzinfo=UTC), "result", "datetime.time"),
    ([d.timedelta(1)], "result[0]", "datetime.timedelta"),
    ({"at": NotATime(2024, 1, 1)}, "result.at", "test_structs.NotATime"),
    (Decimal("sNaN"), "result", "decimal.Decimal"),
    (Decimal("NaN5"), "result", "decimal.Decimal"),
    (d.datetime(1, 1, 1, tzinfo=d.timezone(d.timedelta(hours=1))), "result", "datetime.datetime"),
    ({(1, 1j)}, "result[(1, 1j)][1]", "complex"),
    (numpy.array([object()]), "result", "numpy.ndarray"),
    (numpy.array(["a"]), "result", "numpy.ndarray"),
    (numpy.zeros(2, "i4,f4"), "result", "numpy.ndarray"),
    (numpy.zeros(2, "M8[s]"), "result", "numpy.ndarray"),
    (numpy.ma.masked_array([1, 2], [True, False]), "result", "numpy.ma.core.MaskedArray"),
    ([numpy.timedelta64(1, "s")], "result[0]", "datetime.timedelta"),
    ([numpy.timedelta64(1, "ns")], "result[0]", "numpy.timedelta64"),  # a number without its unit
    ([numpy.timedelta64(1, "Y")], "result[0]", "numpy.timedelta64"),
    ([numpy.datetime64("99999-01-01")], "result[0]", "numpy.datetime64"),
    ([numpy.datetime64("NaT")], "result[0]", "numpy.datetime64"),
    (numpy.complex64(1), "result", "complex"),
]


@pytest.mark.parametrize("value, where, what", UNENCODABLE, ids=[what for _, _, what in UNENCODABLE])
def test_what_has_no_term_is_told_by_path_and_type(value, where, what):
    with pytest.raises(krait.EncodeError) as told:
        encode(value)
    assert (told.value.kind, *told.value.details) == ("unencodable", where, what)


def test_what_a_time_zone_raises_goes_through():
    class Broken(d.tzinfo):
        def utcoffset(self, when):
            raise LookupError("which zone?")

    with pytest.raises(LookupError):
        encode(d.datetime(2024, 1, 1, tzinfo=Broken()))


def test_an_encoder_of_the_users_comes_first(encoders):
    krait.register_encoder(d.date, lambda value: value.isoformat())
    krait.register_encoder(set, sorted)
    krait.register_encoder(numpy.ndarray, lambda value: value.tolist())
    assert encode(d.date(2024, 1, 2)) == encode("2024-01-02")
    assert encode({2, 1}) == encode([1, 2])
    large = numpy.zeros(_codec.APART_BYTES + 1, "u1")
    assert encode(large) == encode([0] * len(large))
    assert not isinstance(_codec.Encoder().frame(2, 1, large), tuple)


@pytest.fixture
def encoders():
    from krait._convert import _encoders

    before = dict(_encoders)
    yield
    _encoders.clear()
    _encoders.update(before)


@given(st.binary(max_size=40), st.sampled_from([12, 13]))
def test_a_payload_of_any_bytes_is_a_value_or_valueerror_or_typeerror(payload, code):
    data = bytes([0xC7, len(payload), code]) + payload
    for read in (decode, _careful.decode):
        try:
            read(data)
        except (ValueError, TypeError):
            pass


def test_names_of_time_zones_are_kept_within_bounds():
    for i in range(_structs.ZONES_KEPT + 10):
        decode(on_the_wire([4, 2024, 1, 1, 0, 0, 0, 0, 0, 0, 0, f"Zone/{i}", "Z"]))
    assert len(_structs._zones) <= _structs.ZONES_KEPT


def test_structs_deeper_than_the_fast_path_goes():
    value = {1}
    for _ in range(100):
        value = [(frozenset([frozenset(value)]),)]
        value = {value[0]}
    data = encode(value)
    assert encode(decode(data)) == data


# ---- tensors ----

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
