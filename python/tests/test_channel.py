"""Frames over a socket, however they are cut."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading

import pytest

from krait._channel import BUFFER_BYTES, JOIN_BYTES, LONG_KEEP_BYTES, BadFrame, Channel, ChannelLost


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    a.settimeout(20)
    b.settimeout(20)
    with a, b:
        yield a, b


def body_of(size):
    """Anything but a frame in parts."""
    return (b"\x93" + os.urandom(size))[:size]


def framed(body):
    return struct.pack(">I", len(body)) + body


SIZES = [
    1,
    3,
    BUFFER_BYTES - 5,
    BUFFER_BYTES - 4,
    BUFFER_BYTES - 3,
    BUFFER_BYTES,
    BUFFER_BYTES + 1,
    JOIN_BYTES,
    JOIN_BYTES + 1,
    3_000_000,
]


@pytest.mark.parametrize("size", SIZES)
def test_any_size_arrives_whole_both_ways(pair, size):
    a, b = pair
    body = body_of(size)
    sender = threading.Thread(target=Channel(a).send, args=(body,))
    sender.start()
    assert bytes(Channel(b).receive()) == body
    sender.join()


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_a_frame_in_two_parts_arrives_as_one(pair, size):
    a, b = pair
    body = body_of(size)
    sender = threading.Thread(target=Channel(a).send, args=((b"head", body),))
    sender.start()
    assert bytes(Channel(b).receive()) == b"head" + body
    sender.join()


def test_a_send_that_is_cut_within_the_header_is_completed(pair):
    a, b = pair

    class Slow:
        fileno, recv, recv_into, sendall = a.fileno, a.recv, a.recv_into, a.sendall

        def sendmsg(self, parts):
            return a.send(parts[0][:2])

    for body in (b"x" * 100_000, (b"head", b"x" * 100_000)):
        sender = threading.Thread(target=Channel(Slow()).send, args=(body,))
        sender.start()
        assert bytes(Channel(b).receive()) == (b"".join(body) if isinstance(body, tuple) else body)
        sender.join()


def test_memory_of_a_long_frame_is_kept_up_to_a_bound(pair):
    a, b = pair
    channel = Channel(b)
    for size, kept in ((100_000, 100_000), (70_000, 100_000), (LONG_KEEP_BYTES + 1, 100_000), (200_000, 200_000)):
        body = body_of(size)
        sender = threading.Thread(target=a.sendall, args=(framed(body),))
        sender.start()
        assert bytes(channel.receive()) == body
        sender.join()
        assert len(channel._long) == kept


def test_frames_cut_anywhere_arrive_in_order(pair):
    a, b = pair
    choose = random.Random(7)
    bodies = [body_of(choose.choice([1, 5, 100, 5000, 65000, 65532, 65533, 70000, 200000])) for _ in range(200)]
    stream = b"".join(framed(body) for body in bodies)

    def feed():
        at = 0
        while at < len(stream):
            step = choose.choice([1, 2, 3, 4, 5, 99, 4096, 65536, 65540, 150000])
            a.sendall(stream[at : at + step])
            at += step
        a.shutdown(socket.SHUT_WR)

    feeder = threading.Thread(target=feed)
    feeder.start()
    channel = Channel(b)
    for body in bodies:
        assert bytes(channel.receive()) == body
    assert channel.receive() is None
    feeder.join()


def test_several_frames_in_one_read_are_handed_out_one_by_one(pair):
    a, b = pair
    a.sendall(b"".join(framed(str(i).encode()) for i in range(1000)))
    channel = Channel(b)
    assert [bytes(channel.receive()) for _ in range(1000)] == [str(i).encode() for i in range(1000)]


def test_the_end_between_frames_is_none(pair):
    a, b = pair
    a.sendall(framed(b"x"))
    a.shutdown(socket.SHUT_WR)
    channel = Channel(b)
    assert bytes(channel.receive()) == b"x" and channel.receive() is None


@pytest.mark.parametrize("part", [b"\0", b"\0\0\0", b"\0\0\0\5x", b"\0\1\0\0" + b"x" * 100, b"\0\x20\0\0" + b"x" * 100])
def test_the_end_within_a_frame_is_a_lost_channel(pair, part):
    a, b = pair
    a.sendall(framed(b"ok") + part)
    a.shutdown(socket.SHUT_WR)
    channel = Channel(b)
    assert bytes(channel.receive()) == b"ok"
    with pytest.raises(ChannelLost):
        channel.receive()


def test_an_empty_frame_is_none(pair):
    a, b = pair
    a.sendall(framed(b"ok") + framed(b""))
    channel = Channel(b)
    channel.receive()
    with pytest.raises(BadFrame):
        channel.receive()


def test_a_long_frame_is_sent_whole_though_the_socket_takes_it_in_parts(pair):
    a, b = pair
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    body = body_of(1 << 20)
    sender = threading.Thread(target=Channel(a).send, args=(body,))
    sender.start()
    assert bytes(Channel(b).receive()) == body
    sender.join()


def test_what_is_wanted_is_taken_out_of_what_has_come_and_the_rest_keeps_its_order(pair):
    a, b = pair
    channel = Channel(b)
    assert channel.take(lambda body: True) == [] and not channel.ready()
    long = body_of(BUFFER_BYTES + 1)
    a.sendall(b"".join(framed(body) for body in (b"1", b"x2", b"3", long, b"x4")))
    assert channel.take(lambda body: body.startswith(b"x")) == [b"x2", b"x4"]
    assert channel.pending and channel.take(lambda body: body == b"3") == [b"3"]
    a.sendall(framed(b"5"))
    a.shutdown(socket.SHUT_WR)
    assert channel.take(lambda body: False) == []
    assert [bytes(channel.receive()) for _ in range(3)] == [b"1", long, b"5"]
    assert channel.receive() is None


def test_several_threads_may_send(pair):
    a, b = pair
    channel = Channel(a)
    bodies = [bytes([i]) * 100_000 for i in range(4)]
    threads = [threading.Thread(target=lambda body=body: [channel.send(body) for _ in range(20)]) for body in bodies]
    for thread in threads:
        thread.start()
    receiver = Channel(b)
    got = [bytes(receiver.receive()) for _ in range(80)]
    assert sorted(got) == sorted(bodies * 20)
    for thread in threads:
        thread.join()
