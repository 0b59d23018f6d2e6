"""The codec: fast and careful, each against the other."""

from __future__ import annotations

import collections
import copy
import enum
import math
import os
import pickle
import socket

import hypothesis
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import krait
from krait import _careful, _codec
from krait._convert import _encoders

EXAMPLES = int(os.environ.get("KRAIT_TEST_EXAMPLES", "60"))  # per property
hypothesis.settings.register_profile("krait", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.load_profile("krait")

PID = krait.Pid(b"X" + b"w\x0akrait@host" + (102).to_bytes(4, "big") + bytes(4) + bytes(4))
REF = krait.Reference(b"Z\x00\x03" + b"w\x03a@b" + bytes(4) + bytes(3) + b"\1" + bytes(3) + b"\2" + bytes(3) + b"\3")
PORT = krait.Port(b"x" + b"w\x03a@b" + (7).to_bytes(8, "big") + bytes(4))
EXPORT = krait.Export(b"q" + b"w\x04math" + b"w\x04sqrt" + b"a\x01")

encode = _codec.Encoder(max_depth=2000).encode
decode = _codec.make_decoder()


def careful(value, root="result", max_depth=2000, max_bytes=1 << 30):
    return _careful.encode(value, root, max_depth, max_bytes)


def strict(x):
    """A value with the types in it, so that 1, 1.0 and True, or 'a' and Atom('a') differ."""
    if isinstance(x, (list, tuple)):
        return type(x).__name__, [strict(item) for item in x]
    if isinstance(x, (dict, krait.MapKey)):
        return type(x).__name__, [(strict(key), strict(value)) for key, value in x.items()]
    return type(x).__name__, "nan" if x != x else repr(x)


atoms = st.builds(krait.Atom, st.text(max_size=20))
externals = st.builds(
    lambda cls, data: cls(data),
    st.sampled_from([krait.Pid, krait.Reference, krait.Port, krait.Export, krait.Opaque]),
    st.binary(max_size=30),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.text()
    | st.binary()
    | atoms
    | externals
)
keys = st.recursive(
    leaves.filter(lambda x: x == x),
    lambda inner: st.lists(inner, max_size=3).map(tuple)
    | st.lists(inner, max_size=3).map(krait.ListKey)
    | st.dictionaries(inner, inner, max_size=3).map(krait.MapKey),
    max_leaves=5,
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5)
    | st.lists(inner, max_size=5).map(tuple)
    | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


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


class Colour(enum.IntEnum):
    RED = 3


class Word(str, enum.Enum):
    HELLO = "hello"


class Tall(float):
    pass


class Raw(bytes):
    pass


class Rows(list):
    pass


class MyAtom(krait.Atom):
    pass


class MyPid(krait.Pid):
    pass


class Big(int):
    def __int__(self):
        raise RuntimeError("not asked")


Point = collections.namedtuple("Point", "x y")

SUBCLASSES = [
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (Point(1, 2), (1, 2)),
    (Colour.RED, 3),
    (Word.HELLO, "hello"),
    (Tall(1.5), 1.5),
    (Tall(-0.0), -0.0),
    (Tall("nan"), math.nan),
    (Raw(b"ab"), b"ab"),
    (Rows([1]), [1]),
    (Big(2**80), 2**80),
    (MyAtom("a"), krait.Atom("a")),
    (MyPid(b"x"), krait.Pid(b"x")),
    (memoryview(b"abcd")[::2], b"ac"),
    ({Point(1, 2): Colour.RED}, {(1, 2): 3}),
]


@pytest.mark.parametrize("value, plain", SUBCLASSES, ids=[type(value).__name__ for value, _ in SUBCLASSES])
def test_a_subclass_is_sent_as_what_it_extends(value, plain):
    for code in (encode, careful):
        assert strict(decode(code(value))) == strict(plain)
        assert strict(decode(code([value]))) == strict([plain])


class Same:
    def __krait__(self):
        return self


class Form:
    def __init__(self, form):
        self.form = form

    def __krait__(self):
        return self.form


class Text(str):
    def __krait__(self):
        return krait.Atom(str.__str__(self))


UNENCODABLE = [
    (object(), "result", "object"),
    ({"a": [1, object()]}, "result.a[1]", "object"),
    ((1, {2: range(1)}), "result[1][2]", "range"),
    ({krait.Atom("k"): range(1)}, "result.k", "range"),
    ({range(1): 2}, "result[range(0, 1)]", "range"),
    ({frozenset([1j]): 2}, "result[frozenset({1j})][1j]", "complex"),
    ({"k" * 100: object()}, "result." + "k" * 64, "object"),
    ({(1, range(1)): 2}, "result[(1, range(0, 1))][1]", "range"),
    ({"a": "\ud800"}, "result.a", ":invalid_utf8"),
    (krait.Atom("\ud800"), "result", ":invalid_utf8"),
    ({"\ud800": 1}, "result.\\ud800", ":invalid_utf8"),
    (collections.deque(), "result", "collections.deque"),
    ((x for x in ()), "result", "generator"),
    (Same(), "result", "test_codec.Same"),
    (Form([Form(object())]), "result[0]", "object"),
    (int, "result", "type"),
    (1j, "result", "complex"),
    (ValueError("x"), "result", "ValueError"),
]


@pytest.mark.parametrize("value, where, what", UNENCODABLE, ids=[str(i) for i in range(len(UNENCODABLE))])
def test_what_has_no_term_is_told_by_path_and_type(value, where, what):
    with pytest.raises(krait.EncodeError) as told:
        encode(value)
    assert (told.value.kind, *told.value.details) == ("unencodable", where, what)
    assert told.value.is_well_formed()
    assert encode([1]) == b"\x91\x01", "the encoder is as good as new"


def test_a_socket_has_no_term():
    with socket.socket() as sock, pytest.raises(krait.EncodeError) as told:
        encode(sock)
    assert told.value.details == ("result", "socket.socket")


def test_a_long_path_keeps_its_end():
    value = object()
    for i in range(60):
        value = {f"key{i}" * 3: value}
    with pytest.raises(krait.EncodeError) as told:
        encode(value)
    where, _ = told.value.details
    assert len(where.encode()) <= 255 and where.startswith("...") and where.endswith(".key0key0key0")


def test_long_and_foreign_type_names_are_cut():
    name = "Ünïcode" * 30
    with pytest.raises(krait.EncodeError) as told:
        encode(type(name, (), {})())
    what = told.value.details[1]
    assert what.isascii() and what.startswith("...") and len(what) <= 63


def test_a_class_without_a_module_has_a_name():
    with pytest.raises(krait.EncodeError) as told:
        encode(eval("type('Bare', (), {})()", {}))
    assert told.value.details == ("result", "Bare")


def test_an_object_may_say_what_it_is_sent_as():
    assert decode(encode(Form((1, [Form("x")])))) == (1, ["x"])
    assert decode(encode(Text("ok"))) == "ok" and type(decode(encode(Text("ok")))) is krait.Atom
    assert careful(Form((1, [Form("x")]))) == encode((1, ["x"]))


def test_what_its_method_raises_goes_through():
    class Broken:
        def __krait__(self):
            raise LookupError("no form")

    with pytest.raises(LookupError, match="no form") as told:
        encode([Broken()])
    assert told.value.__context__ is None, "it was raised once, as far as anybody is told"
    with pytest.raises(LookupError) as told:
        _codec.Encoder().frame(2, 7, [Broken()])
    assert told.value.__context__ is None


def test_a_registered_encoder_serves_its_type_and_subclasses(monkeypatch):
    class Base:
        pass

    class Derived(Base):
        def __krait__(self):
            return "not asked"

    krait.register_encoder(Base, lambda x: (krait.Atom("base"), type(x).__name__))
    krait.register_encoder(set, sorted)
    try:
        assert decode(encode([Base(), Derived()])) == [("base", "Base"), ("base", "Derived")]
        assert careful([Base()]) == encode([Base()])
        assert decode(encode({3, 1, 2})) == [1, 2, 3]
    finally:
        _encoders.clear()


@pytest.mark.parametrize("type_", [dict, int, object, tuple, krait.Atom, krait.Pid])
def test_plain_types_take_no_encoder(type_):
    with pytest.raises(ValueError):
        krait.register_encoder(type_, repr)


def test_a_registration_says_what_it_needs():
    with pytest.raises(TypeError):
        krait.register_encoder("complex", repr)
    with pytest.raises(TypeError):
        krait.register_encoder(complex, None)


class Mock:
    """Pretends, as unittest.mock does with spec=str."""

    __class__ = str  # type: ignore[assignment]


def test_a_pretender_is_not_believed():
    with pytest.raises(krait.EncodeError) as told:
        encode(Mock())
    assert told.value.details == ("result", "test_codec.Mock")


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
