"""Frames in parts: what is large is received to where it stays."""

from __future__ import annotations

import random
import signal
import socket
import struct
import threading
import time

import msgpack
import pytest

from krait import _careful, _codec
from krait._channel import PARTS_AT, PARTS_MAX, BadFrame, Channel, ChannelLost
from krait._convert import EXT_PART, EXT_TUPLE
from krait._parts import PART_BIN, PART_STR, PART_TENSOR, Parted

LARGE = 256 << 10


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    a.settimeout(20)
    with a, b:
        yield a, b


def whole(text, parts):
    """The frame as the node writes it."""
    head = struct.pack(f">BBI{len(parts)}I", 0xC1, len(parts), len(text), *map(len, parts))
    data = head + text
    data += bytes(max(0, PARTS_AT - 4 - len(data))) + b"".join(parts)
    return struct.pack(">I", len(data)) + data


def small(text):
    return struct.pack(">I", len(text)) + text


def sending(sock, data, steps=(1 << 20,)):
    choose = random.Random(len(data))

    def feed():
        at = 0
        while at < len(data):
            step = choose.choice(steps)
            sock.sendall(data[at : at + step])
            at += step

    thread = threading.Thread(target=feed)
    thread.start()
    return thread


def part(index, kind, rest=b""):
    return msgpack.ExtType(EXT_PART, bytes([index, kind]) + rest)


@pytest.mark.parametrize("text_len", [1, 100, PARTS_AT - 48, PARTS_AT - 14, PARTS_AT - 13, PARTS_AT, 300_000])
@pytest.mark.parametrize("count", [1, 2, PARTS_MAX])
def test_texts_and_parts_of_any_size_arrive_among_other_frames(pair, text_len, count):
    a, b = pair
    text = random.Random(1).randbytes(text_len)
    parts = [random.Random(i).randbytes(LARGE + 1000 * i) for i in range(count)]
    frame = whole(text, parts)
    data = b"".join((small(b"before"), frame, frame, small(b"x" * 65_000), frame, small(b"after")))
    thread = sending(a, data, (1, 7, 64, 4096, 65535, 65536, 65537, 400_000))
    channel = Channel(b)
    assert channel.receive() == b"before"
    for i in range(3):
        body = channel.receive()
        assert type(body) is Parted and body == text and body.parts == parts
        if i == 1:
            assert len(channel.receive()) == 65_000
    assert channel.receive() == b"after"
    thread.join()


def test_a_part_is_the_object_that_the_socket_was_read_into(pair):
    a, b = pair
    thread = sending(a, whole(msgpack.packb([part(0, PART_BIN)]), [b"x" * LARGE]))
    body = Channel(b).receive()
    received = body.parts[0]
    assert type(received) is bytes and _codec.make_decoder()(body)[0] is received
    thread.join()


def test_parts_become_values_wherever_they_stand():
    read = _codec.make_decoder()
    nested = msgpack.ExtType(EXT_TUPLE, msgpack.packb([1, part(1, PART_STR)]))
    body = Parted(msgpack.packb([part(0, PART_BIN), nested, {"k": part(2, PART_BIN)}]))
    body.parts = [b"\xff" * 10, "größer".encode(), b"third"]
    for decode in (read, _careful.decode):
        assert decode(body) == [b"\xff" * 10, (1, "größer"), {"k": b"third"}]
    assert read(msgpack.packb([1])) == [1]


def test_too_deep_for_the_fast_path_parts_are_found_all_the_same():
    value = part(0, PART_BIN)
    for _ in range(100):
        value = msgpack.ExtType(EXT_TUPLE, msgpack.packb([value]))
    body = Parted(msgpack.packb(value))
    body.parts = [b"deep"]
    decoded = _codec.make_decoder()(body)
    for _ in range(100):
        assert type(decoded) is tuple
        (decoded,) = decoded
    assert decoded == b"deep"


@pytest.mark.parametrize("form", [0, 1, 2])
def test_a_tensor_in_parts_is_the_tensor(form):
    numpy = pytest.importorskip("numpy")
    data = struct.pack("=6i", *range(6))
    head = struct.pack(">BBB5xQQ", 3, 2, form, 2, 3) + bytes(8)
    body = Parted(msgpack.packb([part(0, PART_TENSOR, head)]))
    body.parts = [data]
    for decode in (_codec.make_decoder(), _careful.decode):
        (array,) = decode(body)
        assert array.dtype == numpy.int32 and array.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert not array.flags.writeable and (form != 0 or array.base is data)
        parts = _codec.array_parts(array)
        assert parts[0] == head and bytes(parts[1]) == data


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x01\x00", b"\x00\x07", b"\x00\x02abc"])
def test_what_is_no_part_is_refused(payload):
    body = Parted(msgpack.packb([msgpack.ExtType(EXT_PART, payload)]))
    body.parts = [b"only one"]
    with pytest.raises((ValueError, IndexError)):
        _codec.make_decoder()(body)
    with pytest.raises((ValueError, IndexError)):
        _codec.make_decoder()(msgpack.packb([msgpack.ExtType(EXT_PART, b"\x00\x00")]))


@pytest.mark.parametrize("change", ["count", "none", "longer", "shorter", "text"])
def test_parts_that_do_not_add_up_are_no_frame(pair, change):
    a, b = pair
    data = bytearray(whole(b"text", [b"x" * LARGE]))
    if change == "count":
        data[5] = PARTS_MAX + 1
    elif change == "none":
        data[5] = 0
    elif change == "text":
        data[6:10] = struct.pack(">I", 1 << 30)
    else:
        data[10:14] = struct.pack(">I", LARGE + (1 if change == "longer" else -1))
    a.setblocking(False)
    a.send(data)
    with pytest.raises(BadFrame):
        Channel(b).receive()


def test_an_end_in_a_part_is_a_lost_channel(pair):
    a, b = pair
    data = whole(b"text", [b"x" * LARGE])
    thread = threading.Thread(target=lambda: (a.sendall(data[:-1]), a.shutdown(socket.SHUT_WR)))
    thread.start()
    with pytest.raises(ChannelLost):
        Channel(b).receive()
    thread.join()


def test_signals_in_the_middle_of_a_part_lose_nothing(pair):
    a, b = pair
    data = random.Random(3).randbytes(3_000_000)
    came = threading.Event()
    before = signal.signal(signal.SIGALRM, lambda *_: came.set())
    try:
        halves = whole(b"text", [data]), 1_000_000

        def feed():
            frame, half = halves
            a.sendall(frame[:half])
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            came.wait(20)
            a.sendall(frame[half:])

        thread = threading.Thread(target=feed)
        thread.start()
        body = Channel(b).receive()
        thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came.is_set() and body.parts == [data]


def test_a_frame_in_parts_keeps_them_when_it_is_not_wanted_yet(pair):
    a, b = pair
    channel = Channel(b)
    frame = whole(b"text", [b"x" * LARGE])
    thread = sending(a, small(b"1") + frame + small(b"x2"))
    until = time.monotonic() + 20
    while channel.take(lambda body: body.startswith(b"x")) != [b"x2"]:
        assert time.monotonic() < until
    thread.join()
    assert channel.receive() == b"1"
    assert channel.receive().parts == [b"x" * LARGE]


def test_a_large_str_goes_out_without_a_packer_and_within_limits():
    encoder = _codec.Encoder(max_bytes=1 << 20)
    for text in ("x" * 100_000, "ß" * 100_000):
        assert b"".join(encoder.frame(2, 7, text)) == msgpack.packb([2, 7, text])
    with pytest.raises(_careful.EncodeError, match="too_large"):
        encoder.frame(2, 7, "ß" * 600_000)
    with pytest.raises(_careful.EncodeError, match="invalid_utf8"):
        encoder.frame(2, 7, "x" * 100_000 + "\ud800")
