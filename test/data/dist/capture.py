#!/usr/bin/env python3
"""Records what a real BEAM sends us, for test/check_dist_replay.c.

    python3 test/data/dist/capture.py [SCENARIO ...]

Needs `erl` and `epmd` in the PATH. For each scenario a BEAM is started that talks to a small
distribution node written here; all bytes that it receives go to SCENARIO.bin, and SCENARIO.events
gets what they mean, as decoded here, independently of the C code: one line per event. The first line
says which side called, and the flags that we announced. Name, cookie and challenge are fixed, so the
recorded proofs hold when they are replayed.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import time
from typing import Any, Iterator, NamedTuple, Optional

NAME = "krait@127.0.0.1"
COOKIE = "krait"
CREATION = 0x1234ABCD
CHALLENGE = 0x6B726169
FLAGS = 0x507074FBC
EXIT_PAYLOAD, SEND_SENDER, ALIAS = 0x400000, 0x80000, 1 << 35
BEAM = "beam@127.0.0.1"
HERE = os.path.dirname(os.path.abspath(__file__))


class Atom(str):
    pass


class Pid(NamedTuple):
    node: str
    id: int
    serial: int
    creation: int


class Raw(bytes):
    """An encoded term: what we do not look into (references, funs)."""


def decode(b: bytes, i: int) -> tuple[Any, int]:
    """One term at b[i:], and where it ends."""
    start, tag = i, b[i]
    i += 1
    if tag == 97:
        return b[i], i + 1
    if tag == 98:
        return struct.unpack_from(">i", b, i)[0], i + 4
    if tag in (110, 111):
        n, i = (b[i], i + 1) if tag == 110 else (struct.unpack_from(">I", b, i)[0], i + 4)
        value = int.from_bytes(b[i + 1 : i + 1 + n], "little")
        return (-value if b[i] else value), i + 1 + n
    if tag == 70:
        return struct.unpack_from(">d", b, i)[0], i + 8
    if tag in (119, 115):
        return Atom(b[i + 1 : i + 1 + b[i]].decode("utf-8" if tag == 119 else "latin-1")), i + 1 + b[i]
    if tag in (118, 100):
        n = struct.unpack_from(">H", b, i)[0]
        return Atom(b[i + 2 : i + 2 + n].decode("utf-8" if tag == 118 else "latin-1")), i + 2 + n
    if tag == 109:
        n = struct.unpack_from(">I", b, i)[0]
        return b[i + 4 : i + 4 + n], i + 4 + n
    if tag == 107:
        n = struct.unpack_from(">H", b, i)[0]
        return list(b[i + 2 : i + 2 + n]), i + 2 + n
    if tag == 106:
        return [], i
    if tag in (104, 105):
        n, i = (b[i], i + 1) if tag == 104 else (struct.unpack_from(">I", b, i)[0], i + 4)
        items = []
        for _ in range(n):
            item, i = decode(b, i)
            items.append(item)
        return tuple(items), i
    if tag == 108:
        n, i = struct.unpack_from(">I", b, i)[0], i + 4
        items = []
        for _ in range(n):
            item, i = decode(b, i)
            items.append(item)
        tail, i = decode(b, i)
        return items if tail == [] else (items, tail), i
    if tag == 116:
        n, i = struct.unpack_from(">I", b, i)[0], i + 4
        pairs = []
        for _ in range(n):
            k, i = decode(b, i)
            v, i = decode(b, i)
            pairs.append((k, v))
        return Raw(b[start:i]), i
    if tag == 88:
        node, i = decode(b, i)
        return Pid(node, *struct.unpack_from(">III", b, i)), i + 12
    if tag == 90:
        n = struct.unpack_from(">H", b, i)[0]
        _, i = decode(b, i + 2)
        i += 4 + 4 * n
        return Raw(b[start:i]), i
    if tag == 112:
        i += struct.unpack_from(">I", b, i)[0]
        return Raw(b[start:i]), i
    raise ValueError(f"tag {tag} at {start}")


def encode(t: Any) -> bytes:
    if isinstance(t, Raw):
        return bytes(t)
    if isinstance(t, Atom):
        return bytes([119, len(t.encode())]) + t.encode()
    if isinstance(t, Pid):
        return b"\x58" + encode(Atom(t.node)) + struct.pack(">III", t.id, t.serial, t.creation)
    if isinstance(t, int):
        if 0 <= t < 256:
            return bytes([97, t])
        if -(1 << 31) <= t < 1 << 31:
            return b"\x62" + struct.pack(">i", t)
        m = abs(t).to_bytes((abs(t).bit_length() + 7) // 8, "little")
        return bytes([110, len(m), t < 0]) + m
    if isinstance(t, bytes):
        return b"\x6d" + struct.pack(">I", len(t)) + t
    if isinstance(t, tuple):
        return bytes([104, len(t)]) + b"".join(map(encode, t))
    if isinstance(t, list):
        return b"\x6c" + struct.pack(">I", len(t)) + b"".join(map(encode, t)) + b"\x6a" if t else b"\x6a"
    raise TypeError(repr(t))


def digest(challenge: int) -> bytes:
    return hashlib.md5((COOKIE + str(challenge)).encode()).digest()


def fnv(data: bytes) -> int:
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


# ---- what a frame means, in the words of check_dist_replay.c ----

F, T, N, R, U, X, W, A = "from", "to", "name", "ref", "unlink", "skip", "reason", "alias"
OPS = {
    1: ("LINK", F, T), 2: ("SEND", X, T), 3: ("EXIT", F, T, W), 4: ("UNLINK", F, T),
    6: ("SEND", F, X, N), 7: ("GROUP_LEADER", F, T), 8: ("EXIT2", F, T, W),
    12: ("SEND", X, T, X), 13: ("EXIT", F, T, X, W), 16: ("SEND", F, X, N, X),
    18: ("EXIT2", F, T, X, W), 19: ("MONITOR", F, T, R), 20: ("DEMONITOR", F, T, R),
    21: ("DOWN", F, T, R, W), 22: ("SEND", F, T), 23: ("SEND", F, T, X), 24: ("EXIT", F, T),
    25: ("EXIT", F, T, X), 26: ("EXIT2", F, T), 27: ("EXIT2", F, T, X), 28: ("DOWN", F, T, R),
    29: ("SPAWN", R, F, X, "mfa", "opts"), 30: ("SPAWN", R, F, X, "mfa", "opts", X),
    31: ("SPAWN_REPLY", R, T, X, W), 32: ("SPAWN_REPLY", R, T, X, W, X), 33: ("SEND", F, A),
    34: ("SEND", F, A, X), 35: ("UNLINK", U, F, T), 36: ("UNLINK_ACK", U, F, T),
}  # fmt: skip


def describe(frame: bytes) -> str:
    if not frame:
        return "TICK"
    assert frame[:2] == b"\x70\x83", frame[:8]
    control, end = decode(frame, 2)
    op, kinds = control[0], OPS[control[0]]
    message = frame[end + 1 :] if end < len(frame) else None
    said = {}
    i = 2 + 2 + 2  # the elements' encodings: after the tuple's head and the operation
    for kind, value in zip(kinds[1:], control[1:]):
        _, j = decode(frame, i)
        raw, i = frame[i:j], j
        if kind in (F, T) and isinstance(value, Pid):
            said[kind] = f"{value.node}/{value.id}.{value.serial}.{value.creation}"
        elif kind in (F, T, N):
            said["name"] = str(value)
        elif kind == U:
            said[kind] = str(value)
        elif kind != X:
            said["ref" if kind == A else kind] = f"{len(raw)}:{fnv(raw):08x}"
    if message is not None:
        key = "reason" if kinds[0] in ("EXIT", "EXIT2", "DOWN") else "payload"
        said[key] = f"{len(message)}:{fnv(message):08x}"
    order = ("from", "to", "name", "ref", "unlink", "reason", "mfa", "opts", "payload")
    return " ".join([kinds[0], f"op={op}"] + [f"{k}={said[k]}" for k in order if k in said])


# ---- the node ----


class Peer:
    """One connection; records what comes in."""

    def __init__(self, sock: socket.socket, flags: int = FLAGS, challenge: int = CHALLENGE) -> None:
        self.sock, self.flags, self.challenge = sock, flags, challenge
        self.record, self.events, self.pids = bytearray(), [], 0
        sock.settimeout(20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, n: int) -> bytes:
        data = bytearray()
        while len(data) < n:
            piece = self.sock.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        self.record += data
        return bytes(data)

    def packet(self) -> bytes:
        return self.read(struct.unpack(">H", self.read(2))[0])

    def put_packet(self, data: bytes) -> None:
        self.sock.sendall(struct.pack(">H", len(data)) + data)

    def accept(self) -> None:
        self.packet()  # N
        self.events.append(f"NAME {BEAM}")
        self.put_packet(b"sok")
        self.put_packet(b"N" + struct.pack(">QIIH", self.flags, self.challenge, CREATION, len(NAME)) + NAME.encode())
        reply = self.packet()
        assert reply[5:] == digest(self.challenge), "wrong cookie"
        self.put_packet(b"a" + digest(struct.unpack_from(">I", reply, 1)[0]))
        self.events.append(f"UP {BEAM}")

    def connect(self) -> None:
        self.put_packet(b"N" + struct.pack(">QIH", self.flags, CREATION, len(NAME)) + NAME.encode())
        assert self.packet() == b"sok"
        challenge = struct.unpack_from(">I", self.packet(), 9)[0]
        self.put_packet(b"r" + struct.pack(">I", self.challenge) + digest(challenge))
        assert self.packet() == b"a" + digest(self.challenge)
        self.events.append(f"UP {BEAM}")

    def frame(self) -> bytes:
        frame = self.read(struct.unpack(">I", self.read(4))[0])
        self.events.append(describe(frame))
        return frame

    def frames(self) -> Iterator[tuple[tuple, Any]]:
        """Control messages and messages until the BEAM goes; ticks are answered."""
        while True:
            try:
                frame = self.frame()
            except (EOFError, ConnectionResetError):
                return
            if not frame:
                self.sock.sendall(bytes(4))
                continue
            control, end = decode(frame, 2)
            yield control, decode(frame, end + 1)[0] if end < len(frame) else None

    @staticmethod
    def bytes_of(*control: Any, message: Any = None) -> bytes:
        data = b"\x70\x83" + encode(control) + (b"\x83" + encode(message) if message is not None else b"")
        return struct.pack(">I", len(data)) + data

    def send(self, *control: Any, message: Any = None) -> None:
        self.sock.sendall(self.bytes_of(*control, message=message))

    def new_pid(self) -> Pid:
        self.pids += 1
        return Pid(NAME, self.pids, 0, CREATION)

    def new_ref(self) -> Raw:
        self.pids += 1
        return Raw(b"\x5a\0\3" + encode(Atom(NAME)) + struct.pack(">IIII", CREATION, self.pids, 0, 0))

    def answer(self, tag: Any, to: Pid, reply: Any) -> None:
        if isinstance(tag, tuple) and isinstance(tag[0], list):  # [alias | Ref]: an improper list
            self.send(33, self.new_pid(), tag[1], message=(Raw(encode_alias(tag)), reply))
        else:
            self.send(2, Atom(""), to, message=(tag, reply))

    def serve(self) -> None:
        """What a pool would do, as far as the scenarios need it."""
        for control, message in self.frames():
            op = control[0]
            if op in (6, 16, 2, 12, 22) and isinstance(message, tuple) and message[0] == "$gen_call":
                caller, tag = message[1]
                request = message[2]
                if request == "stop":
                    self.answer(tag, caller, Atom("ok"))
                    return
                if request == "silence":
                    continue
                if isinstance(request, tuple) and request[0] == "is_auth":
                    self.answer(tag, caller, Atom("yes"))
                elif request == "pid":
                    self.answer(tag, caller, self.new_pid())
                else:
                    self.answer(tag, caller, Atom("ok"))
            elif op in (16, 6, 2, 12, 22) and isinstance(message, tuple) and message[0] == "do":
                self.do(message)
            elif op == 19 and control[2] == "nosuch":
                self.send(21, control[2], control[1], control[3], Atom("noproc"))
            elif op == 35:
                self.send(36, control[1], control[3], control[2])
            elif op in (29, 30):
                pid = self.new_pid()
                self.send(31, control[1], control[2], 2 if control[5] else 0, pid)
                if control[5] and "never" not in message:
                    self.send(21, pid, control[2], control[1], (message[0], Atom("return"), Atom("done")))

    def do(self, message: tuple) -> None:
        """{do, What, Pid}: a signal of ours to Pid."""
        what, pid = message[1], message[2]
        us = self.new_pid()
        if what == "monitor":
            self.send(19, us, pid, self.new_ref())
        elif what == "link":
            self.send(1, us, pid)
        elif what == "unlink":
            self.send(1, us, pid)
            self.send(35, 77, us, pid)
        elif what == "spawn":
            self.send(29, self.new_ref(), us, us, (Atom("erlang"), Atom("node"), 0), [Atom("monitor")], message=[])


def encode_alias(tag: tuple) -> bytes:
    return b"\x6c" + struct.pack(">I", 1) + encode(Atom("alias")) + bytes(tag[1])


# ---- epmd and the BEAM ----


class Epmd:
    def __init__(self, port: int, alive: str = NAME.split("@")[0]) -> None:
        subprocess.run(["epmd", "-daemon"], check=True)
        for _ in range(50):
            try:
                self.sock = socket.create_connection(("127.0.0.1", 4369))
                break
            except OSError:
                time.sleep(0.1)
        req = b"x" + struct.pack(">HBBHHH", port, 72, 0, 6, 5, len(alive)) + alive.encode() + b"\0\0"
        self.sock.sendall(struct.pack(">H", len(req)) + req)
        answer = self.sock.recv(6)
        assert answer[1] == 0, "epmd refuses the name"


def port_of(alive: str) -> int:
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", 4369)) as sock:
            sock.sendall(struct.pack(">H", 1 + len(alive)) + b"z" + alive.encode())
            answer = sock.recv(1024)
        if len(answer) > 4 and answer[1] == 0:
            return struct.unpack_from(">H", answer, 2)[0]
        time.sleep(0.1)
    raise RuntimeError("the BEAM does not register")


def start_beam(code: str, *args: str, name: str = BEAM) -> subprocess.Popen:
    code = re.sub(r"\s+", " ", code).replace("POOL", f"{{pool, '{NAME}'}}").replace("NODE", f"'{NAME}'")
    return subprocess.Popen(
        ["erl", "-noshell", "-name", name, "-setcookie", COOKIE, "-connect_all", "false", *args, "-eval", code]
    )


class Scenario(NamedTuple):
    code: str
    flags: int = FLAGS
    args: tuple = ()
    calls: bool = False  # we call the BEAM


STOP = " gen_server:call(POOL, stop), halt()."
SCENARIOS = {
    "call": Scenario(
        """ok = gen_server:call(POOL, {call, math, sqrt, [2.0]}),
           gen_server:cast(POOL, {call, math, sqrt, [3.0]}),
           POOL ! hello,
           Ours = gen_server:call(POOL, pid), Ours ! {hello, #{a => [1, 2 | 3]}},
           ok = gen_server:call(Ours, whatever),
           pong = net_adm:ping(NODE),
           {[{_, ok}], []} = gen_server:multi_call([NODE], pool, request),
           {'EXIT', {timeout, _}} = (catch gen_server:call(POOL, silence, 50)),
           {'EXIT', {noproc, _}} = (catch gen_server:call({nosuch, NODE}, x, 5000)),
           R = gen_server:send_request(POOL, later), {reply, ok} = gen_server:wait_response(R, 5000),
           P = spawn(fun() -> gen_server:call(POOL, silence) end), timer:sleep(50), exit(P, kill),
           timer:sleep(50),"""
        + STOP
    ),
    "signals": Scenario(
        """process_flag(trap_exit, true),
           A = gen_server:call(POOL, pid), B = gen_server:call(POOL, pid),
           M = monitor(process, A), monitor(process, POOL), demonitor(M),
           true = link(A), unlink(A), true = link(B), exit(B, {shutdown, "because"}), exit(B, kill),
           S = spawn(fun() -> link(A), exit({bye, A}) end),
           group_leader(A, A), B ! {S, self()},
           Sleep = fun() -> receive stop -> ok end end,
           [begin P = spawn(Sleep), POOL ! {do, What, P}, timer:sleep(100), exit(P, kill) end
            || What <- [monitor, link, unlink]],
           POOL ! {do, monitor, spawn(fun() -> ok end)},
           POOL ! {do, spawn, self()}, timer:sleep(50),"""
        + STOP
    ),
    "spawn": Scenario(
        """done = erpc:call(NODE, math, sqrt, [2.0]), done = rpc:call(NODE, 'Elixir.A', b, []),
           erpc:cast(NODE, m, f, [1]), {[done], []} = rpc:multicall([NODE], m, f, []),
           {'EXIT', _} = (catch erpc:call(NODE, m, never, [], 50)),
           spawn_request(NODE, m, f, [x, y], [link]), timer:sleep(50),"""
        + STOP
    ),
    "large": Scenario(
        """ok = gen_server:call(POOL, {big, binary:copy(<<"0123456789abcdef">>, 6 * 1024)}),
           ok = gen_server:call(POOL, lists:seq(1, 20000)),"""
        + STOP
    ),
    "payload": Scenario(
        """process_flag(trap_exit, true), A = gen_server:call(POOL, pid),
           A ! hello, true = link(A), exit(A, {shutdown, big}), unlink(A),
           spawn(fun() -> link(A), exit({bye, A}) end),
           P = spawn(fun() -> receive stop -> ok end end), POOL ! {do, monitor, P}, timer:sleep(100),
           exit(P, {shutdown, #{a => b}}), timer:sleep(50),"""
        + STOP,
        flags=FLAGS | EXIT_PAYLOAD | SEND_SENDER,
    ),
    "trace": Scenario(
        """A = gen_server:call(POOL, pid), seq_trace:set_token(label, 17), seq_trace:set_token(send, true),
           A ! hello, POOL ! hello, exit(A, traced), gen_server:cast(POOL, traced),
           spawn_request(NODE, m, f, [], []),
           spawn(fun() -> seq_trace:set_token(label, 18), link(A), exit(bye) end), timer:sleep(50),
           seq_trace:set_token([]),"""
        + STOP
    ),
    "ticks": Scenario(
        "timer:sleep(3000)," + STOP, args=("-kernel", "net_ticktime", "4", "-kernel", "dist_auto_connect", "once"),
        calls=True,
    ),
    "dial": Scenario(
        """receive after 500 -> ok end, ok = gen_server:call(POOL, request), POOL ! {do, monitor, self()},"""
        + STOP,
        calls=True,
    ),
}  # fmt: skip


def capture(name: str, scenario: Scenario) -> None:
    beam = None
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        epmd = Epmd(server.getsockname()[1])
        try:
            beam = start_beam(scenario.code, *scenario.args)
            if scenario.calls:
                peer = Peer(socket.create_connection(("127.0.0.1", port_of(BEAM.split("@")[0]))), scenario.flags)
                peer.connect()
            else:
                peer = Peer(server.accept()[0], scenario.flags)
                peer.accept()
            peer.serve()
            peer.sock.close()
            status = beam.wait(20)
        finally:
            epmd.sock.close()
            if beam is not None:
                beam.kill()
                beam.wait()
    assert status == 0, f"{name}: the BEAM ended with {status}"
    with open(os.path.join(HERE, name + ".bin"), "wb") as f:
        f.write(peer.record)
    with open(os.path.join(HERE, name + ".events"), "w") as f:
        f.write(f"{'connect' if scenario.calls else 'accept'} {scenario.flags:#x}\n")
        f.writelines(line + "\n" for line in peer.events)
    print(f"{name}: {len(peer.record)} bytes, {len(peer.events)} events")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SCENARIOS:
        capture(wanted, SCENARIOS[wanted])
