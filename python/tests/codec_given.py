"""What the codec's tests share: both codecs, and values by chance."""

from __future__ import annotations

import os

import hypothesis
from hypothesis import strategies as st

import krait
from krait import _careful, _codec

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
