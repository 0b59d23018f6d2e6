"""Functions that misbehave, for the suites of Krait. Put this folder on the workers' path.

Each announces nothing by itself; those that never return print "begun" first, so that a test can wait
for the line instead of sleeping.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import krait


class _TimeSpec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class Unprintable(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Unencodable:
    """An object without a term."""


class WithForm:
    """An object that says what it is sent as."""

    def __init__(self, form: Any) -> None:
        self.form = form

    def __krait__(self) -> Any:
        return self.form


class Counter:
    """State, for --expose and for sessions."""

    def __init__(self) -> None:
        self.count = 0

    def incr(self, by: int = 1) -> int:
        self.count += by
        return self.count


class BrokenCounter:
    """A class that cannot be exposed."""

    def __init__(self) -> None:
        raise RuntimeError("the counter is broken")


counter = Counter()
value = 42  # not callable


def echo(x: Any) -> Any:
    return x


def keywords(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


def add(a: Any, b: Any) -> Any:
    return a + b


def pid() -> int:
    return os.getpid()


def parent_pid() -> int:
    return os.getppid()


def env(name: str) -> str | None:
    return os.environ.get(name)


def imported(name: str) -> bool:
    return name in sys.modules


def incr(by: int = 1) -> int:
    """State of the module: how a session is told from a lost one."""
    return counter.incr(by)


def current() -> Any:
    call = krait.current_call()
    if call is None:
        return None
    return [call.id, call.module, call.function, call.traceparent, call.remaining()]


def crash(name: str = "SIGSEGV") -> NoReturn:
    """Dies of a signal: SIGSEGV, SIGABRT, SIGKILL, ..."""
    os.kill(os.getpid(), signal.Signals[name])
    while True:
        signal.pause()


def exit(code: int = 1) -> NoReturn:  # noqa: A001
    os._exit(code)


def sys_exit(code: Any = 1) -> NoReturn:
    sys.exit(code)


def raise_(type_name: str, text: str = "") -> NoReturn:
    """Raises a built-in exception."""
    import builtins

    raise getattr(builtins, type_name)(text)


def raise_with_args(*args: Any) -> NoReturn:
    raise ValueError(*args)


def raise_with_object() -> NoReturn:
    raise ValueError("first", Unencodable(), {"k": 1})


def raise_unprintable() -> NoReturn:
    raise Unprintable("arg")


def raise_long(characters: int) -> NoReturn:
    raise ValueError("x" * characters)


def raise_chained() -> NoReturn:
    try:
        {}["missing"]
    except KeyError as error:
        raise RuntimeError("outer") from error


def deep_recursion(n: int = 0) -> int:
    return deep_recursion(n + 1) + 1


def tiny_stack(room: int) -> None:
    """From now on there is room for so many more frames than now."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    sys.setrecursionlimit(depth + room)


def no_memory() -> bytes:
    return bytes(1 << 60)


def read_file(path: str) -> str:
    with open(path) as file:
        return file.read()


def hang() -> NoReturn:
    """A loop in Python: can be interrupted."""
    print("begun", flush=True)
    while True:
        pass


def hang_stubborn() -> NoReturn:
    """A loop that swallows interrupts."""
    print("begun", flush=True)
    while True:
        try:
            try:
                while True:
                    pass
            except KeyboardInterrupt:
                os.write(1, b"interrupted\n")
        except KeyboardInterrupt:  # two at a time
            pass


def hang_in_c(seconds: float = 3600) -> int:
    """Waits in C with the GIL held: no Python signal handler runs meanwhile, and no other thread."""
    print("begun", flush=True)
    libc = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    until = time.time() + seconds
    limit = _TimeSpec(int(until), int(until % 1 * 1e9))
    return int(libc.pthread_mutex_timedlock(mutex, ctypes.byref(limit)))


def stop_self() -> None:
    """SIGSTOP."""
    os.kill(os.getpid(), signal.SIGSTOP)


def slow(seconds: float, value: Any = None) -> Any:
    print("begun", flush=True)
    time.sleep(seconds)
    return value


def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def garble(data: bytes = b"\x00\x00\x00\x05garbage") -> None:
    """Writes past Krait onto the worker's channel."""
    os.write(channel_fd(), data)


def close_channel() -> None:
    os.close(channel_fd())


def close_fds() -> None:
    """What a careless daemonize() does."""
    os.closerange(0, 1024)


def channel_fd() -> int:
    """The descriptor of the worker's channel."""
    from krait import _context

    return int(_context.engine.channel.sock.fileno())  # type: ignore[union-attr]


def print_(text: str, stream: str = "stdout", end: str = "\n") -> None:
    print(text, file=getattr(sys, stream), end=end)


def log(level: str, text: str, name: str = "krait_faults") -> None:
    """A record of Python's logging."""
    import logging

    getattr(logging.getLogger(name), level)(text)


def flood(lines: int, stream: str = "stdout") -> int:
    for i in range(lines):
        print(f"line {i} of {lines}", file=getattr(sys, stream))
    return lines


_leaked: list[bytes] = []


def leak(size: int) -> int:
    """Takes memory that is touched and kept; returns how much in all."""
    _leaked.append(b"\x01" * size)
    return sum(len(part) for part in _leaked)


def huge(size: int) -> bytes:
    return b"\x01" * size


def huge_list(length: int) -> list[int]:
    return [0] * length


def unencodable() -> Any:
    return {"a": [1, (2, Unencodable())]}


def lone_surrogate() -> str:
    return "\ud800"


def cycle() -> Any:
    x: list[Any] = []
    x.append(x)
    return x


def nested(depth: int, kind: str = "list") -> Any:
    x: Any = 0
    for _ in range(depth):
        x = [x] if kind == "list" else (x,)
    return x


def depth_of(x: Any) -> int:
    depth = 0
    while isinstance(x, (list, tuple)):
        x = x[0]
        depth += 1
    return depth


class _Liar:
    def __init__(self, words: tuple[Any, ...]) -> None:
        self.words = words

    def __krait__(self) -> Any:
        raise krait.EncodeError(*self.words)


def encode_error(kind: str) -> Any:
    """An object that raises Krait's own exception, with nonsense in it, when it is to be sent."""
    return _Liar(
        {
            "kind": ("hearsay", object()),
            "types": ("too_large", "very"),
            "long": ("unencodable", "x" * 1_000_000, "y"),
            "surrogate": ("unencodable", "\ud800", "y"),
        }[kind]
    )


def with_form(form: Any) -> WithForm:
    return WithForm(form)


def fork_grandchild(setsid: bool = False) -> int:
    """A process that sleeps for ever; returns its pid."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        if setsid:
            os.setsid()
        os.write(write, b".")  # from here on it is what the test wants it to be
        while True:
            signal.pause()
    os.close(write)
    os.read(read, 1)
    os.close(read)
    return pid


def subprocess_grandchild() -> int:
    """A process of another program, which gets every descriptor that it may; returns its pid."""
    import subprocess

    child = subprocess.Popen(["sleep", "3600"], close_fds=False)
    _children.append(child)
    return child.pid


_children: list[Any] = []


def fork_later() -> None:
    """When this call has ended, a thread forks a process, which prints its pid and sleeps until it is
    interrupted; then the thread ends."""

    def fork() -> None:
        while krait.current_call() is not None:
            pass
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(write, b".")
                while True:
                    signal.pause()
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            finally:
                os._exit(1)
        os.read(read, 1)  # the child is what it is going to be
        print(pid, flush=True)

    threading.Thread(target=fork).start()


def importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def at_exit_print(text: str) -> None:
    import atexit

    atexit.register(print, text)


def at_exit_current() -> None:
    import atexit

    atexit.register(lambda: print(krait.current_call()))


def alarm_raises(seconds: float) -> None:
    """A signal that comes between calls and whose handler raises."""

    def on_alarm(_signum: int, _frame: Any) -> None:
        raise TimeoutError("too late")

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
