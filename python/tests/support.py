"""The node's side, as far as the tests need one."""

from __future__ import annotations

import fcntl
import itertools
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from krait import _process, _worker
from krait._channel import Channel
from krait._codec import Encoder, make_decoder
from krait._settings import Settings

PATIENCE = 20.0  # seconds before a test gives up on what should come at once
START = os.path.join(os.path.dirname(os.path.abspath(_worker.__file__)), "_start.py")
TESTS = os.path.dirname(os.path.abspath(__file__))
METHODS = ["fork", "spawn"]  # how a worker is started


@contextmanager
def storm_of_interrupts(pid: int) -> Iterator[None]:
    """SIGINT for that process, thousands in a second, by a process that ends with the block."""
    storm = os.fork()
    if storm == 0:
        while True:  # with a pause in which something else can be done
            os.kill(pid, signal.SIGINT)
            time.sleep(0.0001)
    try:
        yield
    finally:
        os.kill(storm, signal.SIGKILL)
        os.waitpid(storm, 0)


class Wire:
    """The node's end of a worker's channel, and of its output."""

    def __init__(self, sock: socket.socket, out: int, err: int, ahead: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.ahead = ahead
        self.out, self.err = out, err
        self.ids = itertools.count(1)
        self._channel = Channel(sock)
        self._encode = Encoder(max_depth=5000).encode
        self._decode = make_decoder()

    def send(self, frame: Any) -> None:
        self._channel.send(self._encode(frame))

    def receive(self) -> Any:
        """The next frame; None at the end of the channel."""
        data = self._channel.receive()
        return None if data is None else self._decode(data)

    def cast(self, module: str, function: str, *args: Any, meta: Any = None, **kwargs: Any) -> int:
        call_id = next(self.ids)
        self.send([1, call_id, module, function, list(args), kwargs, meta])
        return call_id

    def send_ahead(self, module: str, function: str, *args: Any, meta: Any = None, **kwargs: Any) -> int:
        """The same by the queue of calls that are sent ahead."""
        call_id = next(self.ids)
        frame = self._encode([1, call_id, module, function, list(args), kwargs, meta])
        self.ahead.send(call_id.to_bytes(8, "big") + frame)
        return call_id

    def call(self, module: str, function: str, *args: Any, meta: Any = None, **kwargs: Any) -> Any:
        """("ok", value) or ("error", kind, ...)."""
        call_id = self.cast(module, function, *args, meta=meta, **kwargs)
        return self.answer(call_id)

    def answer(self, call_id: int) -> Any:
        frame = self.receive()
        assert frame is not None, f"the worker has gone: {self.read(self.err)!r}"
        assert frame[1] == call_id
        assert frame[0] in (2, 3)
        return ("ok", frame[2]) if frame[0] == 2 else ("error", *frame[2:])

    def fault(self, function: str, *args: Any, **kwargs: Any) -> Any:
        return self.call("krait_faults", function, *args, **kwargs)

    def value(self, function: str, *args: Any, **kwargs: Any) -> Any:
        kind, value, *_ = self.fault(function, *args, **kwargs)
        assert kind == "ok", value
        return value

    def read_line(self, fd: int) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([fd], [], [], PATIENCE)[0], f"nothing after {line!r}"
            byte = os.read(fd, 1)
            assert byte, f"only {line!r}"
            line += byte
        return line

    def read(self, fd: int) -> bytes:
        """What is there, or all when the process has ended."""
        data = b""
        while select.select([fd], [], [], 0)[0]:
            part = os.read(fd, 65536)
            if not part:
                break
            data += part
        return data

    def close(self) -> None:
        self.sock.close()
        self.ahead.close()
        os.close(self.out)
        os.close(self.err)


class Worker(Wire):
    """A worker in a forked child of the tests, and what the node would hold of it."""

    def __init__(self, **settings: Any) -> None:
        ours, theirs = socket.socketpair()
        out, out_write = os.pipe()
        err, err_write = os.pipe()
        ahead, theirs_ahead = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.alarm(int(3 * PATIENCE))
                os.setpgid(0, 0)
                ours.close()
                ahead.close()
                sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)
                sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
                sys.unraisablehook = sys.__unraisablehook__  # not the tests' own
                _process.take_output(out_write, err_write)
                _process.faulthandler.enable(sys.stderr)
                _worker.run(theirs, Settings(**settings), 0, theirs_ahead)
            finally:
                os._exit(99)
        theirs.close()
        os.close(out_write)
        os.close(err_write)
        super().__init__(ours, out, err, ahead)
        self.theirs_ahead = theirs_ahead  # as the node keeps it
        self.hello: Any = None
        self.status: int | None = None

    def __enter__(self) -> Worker:
        self.hello = self.receive()
        return self

    def wait(self) -> int:
        """The exit status, or minus the signal."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def stop(self) -> int:
        """End of file, and the exit status."""
        self.sock.close()
        return self.wait()

    def __exit__(self, *_: Any) -> None:
        if self.status is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        self.theirs_ahead.close()
        self.close()


class Server:
    """A fork server as the node starts it."""

    def __init__(self, argv: list[str] | None = None, env: dict[str, str] | None = None, **setup: Any) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)
        self.out, out_write = os.pipe()
        self.err, err_write = os.pipe()
        ends = (theirs.fileno(), out_write, err_write)
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in ends]  # out of the way of 3
        actions = [(os.POSIX_SPAWN_DUP2, fd, at) for fd, at in zip(ends, (3, 1, 2))]
        actions.append((os.POSIX_SPAWN_DUP2, ends[0], 0))  # a standard input that must not be kept
        self.pid = os.posix_spawn(
            sys.executable, argv or [sys.executable, START], {**os.environ, **(env or {})}, file_actions=actions
        )
        theirs.close()
        for fd in (out_write, err_write, *ends):
            os.close(fd)
        self.status: int | None = None
        self._ids = itertools.count(1)
        self.wires: list[Wire] = []
        if setup.pop("say_setup", True):
            self.send("setup", {"node": "krait@test", "node_pid": os.getpid(), "path": [TESTS], **setup})

    def __enter__(self) -> Server:
        return self

    def send(self, *packet: Any, fds: tuple[int, ...] = ()) -> None:
        self.send_bytes(msgpack.packb(packet), fds)

    def send_bytes(self, data: bytes, fds: tuple[int, ...] = ()) -> None:
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.send(data)

    def receive(self) -> Any:
        """The next packet; None when the server has gone."""
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionResetError:
            return None
        return msgpack.unpackb(data) if data else None

    def expect(self, kind: str) -> list[Any]:
        packet = self.receive()
        assert packet is not None and packet[0] == kind, packet
        return packet[1:]

    def ready(self) -> Server:
        self.expect("ready")
        return self

    def start(self, index: int = 0, *cgroup: str) -> tuple[int, Wire]:
        """Asks for a worker; its pid and its wire, HELLO still to come."""
        worker_id = next(self._ids)
        ours, theirs = socket.socketpair()
        out, out_write = os.pipe()
        err, err_write = os.pipe()
        ahead, theirs_ahead = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = (theirs.fileno(), out_write, err_write, theirs_ahead.fileno())
        self.send("start", worker_id, index, *cgroup, fds=fds)
        theirs.close()
        theirs_ahead.close()
        os.close(out_write)
        os.close(err_write)
        got, pid = self.expect("forked")
        assert got == worker_id
        wire = Wire(ours, out, err, ahead)
        self.wires.append(wire)
        return pid, wire

    def wait(self) -> int:
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def __exit__(self, *_: Any) -> None:
        self.sock.close()
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        for wire in self.wires:
            wire.close()
        os.close(self.out)
        os.close(self.err)


class Watch:
    """Waits for the ends of processes that are not ours."""

    def __init__(self, *pids: int) -> None:
        self.fds = {pid: os.pidfd_open(pid) for pid in pids}

    def gone(self, within: float = PATIENCE) -> list[int]:
        """Those that are still there after so many seconds."""
        left = dict(self.fds)
        poll = select.poll()
        for fd in left.values():
            poll.register(fd, select.POLLIN)
        by_fd = {fd: pid for pid, fd in left.items()}
        while left:
            ready = poll.poll(within * 1000)
            if not ready:
                break
            for fd, _ in ready:
                poll.unregister(fd)
                del left[by_fd[fd]]
        for fd in self.fds.values():
            os.close(fd)
        return list(left)


def state(pid: int) -> str:
    """R, S, Z ...: proc(5)."""
    return open_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]


def alive(pid: int) -> bool:
    """Whether it runs, zombies not counted."""
    try:
        return state(pid) != "Z"
    except FileNotFoundError:
        return False


def error(answer):
    """(type, module, message, traceback, args) of an answer that is an exception."""
    kind, python, type_, module, message, traceback, args, _frames = answer
    assert (kind, python) == ("error", "python")
    return type_, module, message, traceback, args


def open_text(path: str) -> str:
    with open(path) as file:
        return file.read()
