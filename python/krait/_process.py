"""What a process of Krait's is to the system: whose death it follows, where its output goes, how much
memory it gives back, how it ends.

Nothing outlives the node: each process asks the kernel (PR_SET_PDEATHSIG) to be killed with its
parent, and then looks whether the parent is still there, for it may have died just before.
"""

from __future__ import annotations

import atexit
import faulthandler
import io
import os
import signal
import socket
import sys
import threading
import traceback
from functools import lru_cache
from typing import Any, NoReturn

from krait import _logging
from krait._exits import EXIT_ORPHANED

PR_SET_PDEATHSIG = 1  # linux/prctl.h

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
# By default glibc maps and unmaps each megabyte anew, and the page faults cost more than the copying: an
# echo of 1 MB took 1.3 ms of a worker's time, and takes 0.4. Up to 64 MB of free memory stay with a
# worker for that. 32 MB is the largest threshold that glibc accepts.
MALLOC_TUNING = {
    M_MMAP_THRESHOLD: ("MALLOC_MMAP_THRESHOLD_", 32 << 20),
    M_TRIM_THRESHOLD: ("MALLOC_TRIM_THRESHOLD_", 64 << 20),
    M_TOP_PAD: ("MALLOC_TOP_PAD_", 1 << 20),
}


@lru_cache(maxsize=1)
def libc() -> Any:
    """The C library. Called once before the first fork, for loading it takes milliseconds."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int | None = None) -> None:
    """The kernel kills this process when the thread that made it ends. If `parent` is given and is no
    longer the parent, this process ends here."""
    if sys.platform == "linux":
        libc().prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(EXIT_ORPHANED)


def tune_allocator() -> None:
    """Keeps memory for large payloads; what the operator set in the environment has priority."""
    mallopt = getattr(libc(), "mallopt", None)
    if mallopt is None:  # not glibc
        return
    for parameter, (variable, value) in MALLOC_TUNING.items():
        if variable not in os.environ:
            mallopt(parameter, value)


def prepare_streams() -> None:
    """Standard input is empty. Output is text that leaves line by line and never fails for what is in
    it; the descriptors below may be replaced at any time. Log records say their level. Crashes leave a
    stack dump."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    _logging.install()
    if sys.stderr is not None:
        faulthandler.enable(sys.stderr)


def take_output(out_fd: int, err_fd: int) -> None:
    """Standard output and error go to these pipes from now on; the descriptors are consumed."""
    os.dup2(out_fd, 1)
    os.dup2(err_fd, 2)
    os.close(out_fd)
    os.close(err_fd)


def flush_output() -> None:
    """What was printed leaves before the answer does. 0.1 us when there is nothing."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # closed, replaced or broken by user code: not the answer's fault
        pass


class ForkGuard:
    """Children that user code forks (os.fork, multiprocessing) die with the worker too, and leave its
    channel alone. They stay in its process group, so the node's kill reaches them as well; this is
    for the case that nobody is left to kill.

    The kernel's guard follows the thread that forked, so a child made by another than the main thread
    cannot have it: it would die when that thread ends."""

    def __init__(self, channel: socket.socket, on_sigint: Any, ahead: socket.socket | None = None) -> None:
        self._channel = channel
        self._ahead = ahead
        self._on_sigint = on_sigint  # the worker's handler, which is not for its children
        self._parent = 0

    def install(self) -> None:
        """For the rest of this process's life."""
        os.register_at_fork(before=self._before, after_in_child=self._in_child)

    def _before(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        self._parent = os.getpid() if main else 0

    def _in_child(self) -> None:
        if self._parent:
            die_with_parent(self._parent)
        if signal.getsignal(signal.SIGINT) is self._on_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._channel.close()
        if self._ahead is not None:
            self._ahead.close()


def leave(code: int) -> NoReturn:
    """Ends the process as sys.exit() would: waits for threads, runs exit handlers, flushes. The memory
    is left to the kernel."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except BaseException:
        traceback.print_exc()
    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    flush_output()
    os._exit(code)
