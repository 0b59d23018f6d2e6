"""Objects that are no plain values: subclasses, those that say what they are sent as, those that have no term."""

from __future__ import annotations

import collections
import enum
import math
import socket

import pytest
from codec_given import careful, decode, encode, strict

import krait
from krait import _codec
from krait._convert import _encoders


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
    (Same(), "result", "test_objects.Same"),
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
    assert told.value.details == ("result", "test_objects.Mock")
