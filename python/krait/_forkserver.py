"""The fork server: a Python process that has everything imported, and workers forked from it.

The happy path: "setup" arrives, the preload is imported, "ready" is said; each "start" brings three
descriptors and makes a worker ("forked"); each end of a worker is told ("exited") and the zombie kept,
so that its pid cannot become another process's, until the node says "reap". forkserver.h is the
specification.
What can go wrong: the preload raises ("failed", EXIT_PRELOAD_FAILED); a fork fails ("fork_failed");
a packet makes no sense (logged, refused); the node is gone (exit at once, and the kernel kills the
workers with us).

With the method "spawn" nothing is preloaded here: each worker is a fresh interpreter that imports for
itself, for code that does not survive a fork.
"""

from __future__ import annotations

import array
import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import warnings
from typing import Any, NoReturn

import msgpack

from krait import _limits, _process, _worker
from krait._codec import make_decoder
from krait._exits import (
    EXIT_BAD_FRAME,
    EXIT_INTERNAL,
    EXIT_OK,
    EXIT_PRELOAD_FAILED,
    EXIT_START_FAILED,
    EXIT_UNKNOWN,
    EXIT_USAGE,
)
from krait._failure import formatted_within, write_stderr
from krait._settings import Settings

log = logging.getLogger("krait")

CONTROL_FD = 3  # forkserver.h
PACKET_BYTES = 256 << 10  # more than a SOCK_SEQPACKET socket takes with its default buffer
TOLD_CHARACTERS = 16 << 10  # of a traceback in "failed" and "fork_failed"
WORKER_FDS = 4  # channel, stdout, stderr, its end of the queue of calls sent ahead
WAKEUP_BYTES = 4096


class Control:
    """The socket to the node: packets that are msgpack arrays."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decode = make_decoder()
        self._pack = msgpack.Packer().pack

    def receive(self) -> tuple[list[Any], list[int]]:
        """The next packet and the descriptors that came with it, which are the caller's to close. A
        packet that makes no sense is told as an empty one. Does not return when the node is gone."""
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(
                PACKET_BYTES, socket.CMSG_SPACE(WORKER_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            os._exit(EXIT_OK)
        if not data:
            os._exit(EXIT_OK)
        fds = array.array("i")
        for level, type_, payload in ancillary:
            if level == socket.SOL_SOCKET and type_ == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        packet: Any = None
        if not flags & socket.MSG_TRUNC:
            try:
                packet = self._decode(data)
            except Exception as error:
                log.warning("fork server: a packet is not msgpack: %s", error)
        return packet if isinstance(packet, list) else [], list(fds)

    def send(self, *packet: Any) -> None:
        """Does not return when the node is gone."""
        try:
            self.sock.send(self._pack(packet))
        except OSError:
            os._exit(EXIT_OK)


class ForkServer:
    """Starts workers and tells of their ends."""

    def __init__(self, control: Control, settings: Settings) -> None:
        self._control = control
        self._settings = settings
        self._pid = os.getpid()
        self._living: set[int] = set()  # workers whose end was not told yet
        self._dead: set[int] = set()  # zombies, until the node says "reap"
        self._reap_at_end: set[int] = set()  # "reap" came before the end
        self._wakeup, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> NoReturn:
        """Serves until the node is gone."""
        signal.signal(signal.SIGCHLD, _ignore)  # a handler of Python's, or nothing wakes us up
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control.sock, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        control_fd = self._control.sock.fileno()
        while True:
            for fd, _ in poll.poll():
                if fd == control_fd:
                    self._packet(*self._control.receive())
                else:
                    os.read(self._wakeup, WAKEUP_BYTES)
                    self._tell_ends()

    def _packet(self, packet: list[Any], fds: list[int]) -> None:
        kind, numbers = (packet[0], packet[1:]) if packet else (None, [])
        cgroup = numbers.pop() if kind == "start" and len(numbers) == 3 else ""
        whole = all(type(number) is int for number in numbers) and type(cgroup) is str
        if kind == "start" and len(numbers) == 2 and whole and len(fds) == WORKER_FDS:
            self._start(numbers[0], numbers[1], cgroup, fds)
        elif kind == "reap" and len(numbers) == 1 and whole and not fds:
            self._reap(numbers[0])
        else:
            for fd in fds:
                os.close(fd)
            if kind == "start" and numbers and type(numbers[0]) is int:
                self._control.send("fork_failed", numbers[0], f"start with {len(fds)} descriptors")
            log.warning("fork server: refused a packet %.200r with %d descriptors", packet, len(fds))

    def _start(self, worker_id: int, index: int, cgroup: str, fds: list[int]) -> None:
        try:
            with warnings.catch_warnings():  # threads of the preload's: the operator chose to fork
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError as error:
            self._control.send("fork_failed", worker_id, str(error))
            return
        finally:
            if os.getpid() == self._pid:
                for fd in fds:
                    os.close(fd)
        if pid == 0:
            self._become_worker(fds, index, cgroup)
        try:
            os.setpgid(pid, pid)  # both sides do, so that neither need wait for the other
        except OSError:
            pass
        self._living.add(pid)
        self._control.send("forked", worker_id, pid)

    def _become_worker(self, fds: list[int], index: int, cgroup: str) -> NoReturn:
        """In the child. Short, for its time is part of every start."""
        code = EXIT_INTERNAL
        try:
            os.setpgid(0, 0)
            _process.die_with_parent(self._pid)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.sock.close()
            os.close(self._wakeup)
            os.close(self._wakeup_write)
            _process.take_output(fds[1], fds[2])
            _limits.take_on(self._settings, index, cgroup)
            if self._settings.method == "spawn":
                exec_worker(fds[0], fds[3], self._settings, index)
            _reseed()
            ahead = socket.socket(fileno=fds[3])
            _worker.run(socket.socket(fileno=fds[0]), self._settings, index, ahead)
        except _limits.Refused as error:
            write_stderr(f"krait: {error}\n")
            code = EXIT_START_FAILED
        except BaseException as error:
            _worker.last_words(error)
            code = EXIT_START_FAILED
        finally:
            os._exit(code)

    def _tell_ends(self) -> None:
        for pid in list(self._living):
            try:
                end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:  # code of the preload's waited for children that are not its own
                log.warning("fork server: somebody else waited for worker %d", pid)
                self._living.discard(pid)
                self._control.send("exited", pid, EXIT_UNKNOWN, 0)
                continue
            if end is None:
                continue
            self._living.discard(pid)
            self._dead.add(pid)
            exited = end.si_code == os.CLD_EXITED
            self._control.send("exited", pid, end.si_status if exited else 0, 0 if exited else end.si_status)
            if pid in self._reap_at_end:
                self._reap_at_end.discard(pid)
                self._reap(pid)

    def _reap(self, pid: int) -> None:
        if pid in self._dead:
            self._dead.discard(pid)
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
        elif pid in self._living:
            self._reap_at_end.add(pid)
        else:
            log.warning("fork server: process %d is not a worker that can be reaped", pid)


def _ignore(_signum: int, _frame: Any) -> None:
    """The wakeup descriptor says all there is to say."""


def _reseed() -> None:
    """Workers must not draw the same numbers; `random` sees to itself."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def exec_worker(channel_fd: int, ahead_fd: int, settings: Settings, index: int) -> NoReturn:
    """Replaces this process by a fresh interpreter that runs `spawned`. Settings travel in memory, not
    in arguments or the environment, which other users may read."""
    settings_fd = os.memfd_create("krait-settings")
    os.write(settings_fd, msgpack.packb(vars(settings)))
    os.lseek(settings_fd, 0, os.SEEK_SET)
    for fd in (channel_fd, ahead_fd, settings_fd):
        os.set_inheritable(fd, True)
    start = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_start.py")
    numbers = (channel_fd, ahead_fd, settings_fd, index)
    os.execv(sys.executable, [sys.executable, start, "--worker", *map(str, numbers)])


def spawned(channel_fd: int, ahead_fd: int, settings_fd: int, index: int) -> NoReturn:
    """A worker of the method "spawn": the preload is its own."""
    _process.prepare_streams()
    _process.tune_allocator()
    with open(settings_fd, "rb") as file:
        settings = Settings.from_map(msgpack.unpackb(file.read()))
    os.set_inheritable(channel_fd, False)
    os.set_inheritable(ahead_fd, False)
    try:
        preload(settings)
    except BaseException as error:
        _worker.last_words(error)
        _process.leave(EXIT_START_FAILED)
    _worker.run(socket.socket(fileno=channel_fd), settings, index, socket.socket(fileno=ahead_fd))


def preload(settings: Settings) -> None:
    """Imports what workers will need; raises whatever that raises."""
    sys.path[:0] = settings.path
    for module in settings.preload:
        importlib.import_module(module)


def main(arguments: list[str]) -> NoReturn:
    """Entered from _start.py, as the fork server, or as a worker with "--worker"."""
    if arguments[:1] == ["--worker"]:
        spawned(*(int(argument) for argument in arguments[1:]))
    _process.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C is the node's to handle
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _process.prepare_streams()
    _process.tune_allocator()
    try:
        sock = socket.socket(fileno=CONTROL_FD)
    except OSError as error:
        write_stderr(f"krait: the node starts this process, with its socket as descriptor 3: {error}\n")
        os._exit(EXIT_USAGE)
    sock.set_inheritable(False)
    sock.setblocking(True)
    control = Control(sock)
    settings = _setup(control)
    _process.die_with_parent(settings.node_pid)
    if settings.cwd:
        try:
            _change_directory(settings.cwd)
        except _limits.Refused as error:
            _fail(control, str(error), EXIT_START_FAILED)
    if settings.method == "fork":
        try:
            preload(settings)
        except BaseException as error:
            _fail(control, formatted_within(error, TOLD_CHARACTERS), EXIT_PRELOAD_FAILED)
    server = ForkServer(control, settings)
    gc.collect()
    gc.freeze()  # what is here now is shared with the workers: the collector need not touch it
    control.send("ready", os.getpid(), _worker.versions())
    server.run()


def _change_directory(path: str) -> None:
    """And in sys.path, where _start.py has put the other."""
    try:
        before = os.getcwd()
    except OSError:  # the directory is gone
        before = ""
    _limits.change_directory(path)
    if sys.path[:1] == [before]:
        sys.path[0] = os.getcwd()


def _setup(control: Control) -> Settings:
    packet, fds = control.receive()
    for fd in fds:
        os.close(fd)
    try:
        if len(packet) != 2 or packet[0] != "setup":
            raise ValueError(f"setup: the first packet is {packet!r:.200}")
        return Settings.from_map(packet[1])
    except ValueError as error:
        _fail(control, str(error), EXIT_BAD_FRAME)


def _fail(control: Control, text: str, code: int) -> NoReturn:
    write_stderr(text if text.endswith("\n") else text + "\n")
    control.send("failed", text)
    os._exit(code)
