"""A worker: one call after the other.

    channel -> receive -> decode -> resolve -> call -> encode -> send -> channel

The happy path: HELLO when it can serve; then each CALL gets one RESULT, each PING a PONG, until the
node closes the channel; then exit handlers run and it leaves with EXIT_OK.
What can go wrong: the function raises anything at all, or its result has no term (ERROR, and the next
call is served); the node interrupts a call (SIGINT: KeyboardInterrupt in the function, nowhere else);
the start fails (traceback on stderr, EXIT_START_FAILED); the channel breaks (EXIT_CHANNEL_LOST) or
speaks another language (EXIT_BAD_FRAME).

User code that installs its own SIGINT handler takes interrupts upon itself; the node's SIGKILL after
`interrupt_grace` remains.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from types import FrameType
from typing import Any, Callable, NoReturn

import msgpack

from krait import _context, _process
from krait._channel import BadFrame, Channel, ChannelLost
from krait._codec import Encoder, make_decoder
from krait._convert import EncodeError
from krait._exits import EXIT_BAD_FRAME, EXIT_CHANNEL_LOST, EXIT_INTERNAL, EXIT_OK, EXIT_START_FAILED
from krait._failure import Failure, formatted_within, write_stderr
from krait._resolve import NoFunction, NotAllowed, Resolver, expose
from krait._settings import Settings
from krait._version import __version__

CALL, PING, INTERRUPT = 1, 2, 3  # frame.h: to the worker
HELLO, RESULT, ERROR, PONG = 1, 2, 3, 4  # from the worker
CALL_ELEMENTS = 7
LAST_WORDS_CHARACTERS = 16 << 10


def versions() -> dict[str, str]:
    """What HELLO and "ready" tell of this process."""
    return {
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "krait": __version__,
        "msgpack": ".".join(str(part) for part in msgpack.version),
    }


class Interrupt:
    """SIGINT as the node means it: KeyboardInterrupt in the running function. Between calls, and while
    an answer is made and sent, the signal is late and is ignored; but it may also be early, for a call
    that is still on its way here. The frame that the node sends before the signal tells."""

    __slots__ = ("armed", "early")

    def __init__(self) -> None:
        self.armed = False
        self.early = False

    def __call__(self, _signum: int, frame: FrameType | None) -> None:
        if not self.armed:
            self.early = True
            return
        if frame is not None and frame.f_code is _loop.__code__:
            # In the loop itself: in a C function that it called, or just beside it. Once is enough,
            # and the second exception could not be caught.
            self.armed = False
        raise KeyboardInterrupt

    def install(self) -> None:
        """Only the main thread may."""
        signal.signal(signal.SIGINT, self)


class Answers:
    """The bodies of frames to the node. Whatever happens in here becomes an answer too."""

    def __init__(self, settings: Settings) -> None:
        self._encoder = Encoder(settings.max_depth, settings.max_result_bytes)

    def plain(self, type_: int, call_id: int, *rest: Any) -> bytes:
        return self._encoder.plain([type_, call_id, *rest])

    def result(self, call_id: int, value: Any) -> bytes | tuple[bytes, bytes]:
        try:
            return self._encoder.frame(RESULT, call_id, value)
        except BaseException as error:
            return self.error(call_id, error, encoding=True)

    def error(self, call_id: int, error: BaseException, encoding: bool = False) -> bytes:
        """`error` as the node wants to hear it; survives on what is left of stack and memory."""
        try:
            # A public class: user code may have raised it in a call, or with nonsense in it.
            if encoding and isinstance(error, EncodeError) and error.is_well_formed():
                return self.plain(ERROR, call_id, error.kind, *error.details)
            if isinstance(error, NoFunction):
                return self.plain(ERROR, call_id, "no_function")
            if isinstance(error, NotAllowed):
                return self.plain(ERROR, call_id, "not_allowed")
            return self._python(call_id, error)
        except BaseException:
            name = type(error).__name__.encode("ascii", "replace").decode()
            return self.plain(ERROR, call_id, "python", name, "", f"<untold {name}>", "", [])

    def _python(self, call_id: int, error: BaseException) -> bytes:
        pack = self._encoder.plain
        told = Failure(error, pack)
        words = (ERROR, call_id, "python", told.type, told.module, told.message, told.traceback)
        parts = [pack(word) for word in words]
        return b"".join([b"\x98", *parts, _ARRAY_16.pack(0xDC, len(told.args)), *told.args])


_ARRAY_16 = struct.Struct(">BH")


def serve(channel: Channel, settings: Settings, exposed: dict[str, Any], interrupt: Interrupt) -> int:
    """Says HELLO and answers until the node closes the channel; returns EXIT_OK. Raises what the
    channel raises: ChannelLost, OSError, BadFrame."""
    answers = Answers(settings)
    resolve = Resolver(exposed, settings.allow).resolve
    channel.send(answers.plain(HELLO, 0, os.getpid(), versions()))
    return _loop(channel, make_decoder(), resolve, answers, interrupt)


def _loop(
    channel: Channel,
    decode: Callable[[Any], Any],
    resolve: Callable[[str, str], Callable[..., Any]],
    answers: Answers,
    interrupt: Interrupt,
) -> int:
    receive, send, encode, failed = channel.receive, channel.send, answers.result, answers.error
    flush_output, monotonic, running = _process.flush_output, time.monotonic, _context.running
    frame = args = kwargs = meta = result = answer = None  # type: Any
    while True:
        data = receive()
        if data is None:
            return EXIT_OK
        try:
            frame = decode(data)
            type_, call_id = frame[0], frame[1]
            if type_ != CALL or len(frame) != CALL_ELEMENTS:
                if type_ != PING and type_ != INTERRUPT:
                    raise BadFrame(f"a frame of type {type_} and {len(frame)} elements")
                if type_ == PING:
                    interrupt.early = False  # it was late: the call that it was meant for is answered
                    send(answers.plain(PONG, call_id))
                continue
            _, _, module, function, args, kwargs, meta = frame
        except MemoryError as error:  # the caller's, if it can be seen whose
            send(failed(_id_of(data), error))
            continue
        except (ValueError, TypeError, IndexError) as error:
            raise BadFrame(f"{type(error).__name__}: {error}") from error
        data = None  # what a call does not need must not stay in memory for as long as it runs
        if meta:
            running.began = monotonic()
        running.frame = frame
        try:
            try:
                interrupt.armed = True
                if interrupt.early:
                    interrupt.early = False
                    if channel.waiting():  # nothing but an INTERRUPT of this call can be
                        raise KeyboardInterrupt
                result = resolve(module, function)(*args, **kwargs)
                interrupt.armed = False
            except BaseException as error:
                interrupt.armed = False
                answer = failed(call_id, error)
            else:
                answer = encode(call_id, result)
        except KeyboardInterrupt as error:  # the signal came while the call was ending by itself
            answer = failed(call_id, error)
        running.frame = None
        flush_output()
        send(answer)
        frame = args = kwargs = meta = result = answer = None  # nor while none runs


def _id_of(data: Any) -> int:
    """The id of a frame that could not be decoded."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(bytes(data[:32]))
    unpacker.read_array_header()
    type_, call_id = unpacker.unpack(), unpacker.unpack()
    if type_ != CALL:
        raise BadFrame("not a call")
    return call_id


def run(sock: socket.socket, settings: Settings, index: int) -> NoReturn:
    """A worker's life in a process of its own, from here to the exit status."""
    os.environ["KRAIT_POOL"] = settings.pool
    os.environ["KRAIT_WORKER_INDEX"] = str(index)
    sock.setblocking(True)
    try:
        exposed = expose(settings.expose)
    except BaseException as error:
        last_words(error)
        _process.leave(EXIT_START_FAILED)
    try:
        interrupt = Interrupt()
        interrupt.install()
        _process.ForkGuard(sock, interrupt).install()
        code = serve(Channel(sock), settings, exposed, interrupt)
    except BadFrame as error:
        write_stderr(f"krait: the node sent what is no frame: {error}\n")
        code = EXIT_BAD_FRAME
    except BaseException as error:
        if isinstance(error, ChannelLost) or (isinstance(error, OSError) and error.errno is not None):
            write_stderr(f"krait: the channel to the node is lost: {error}\n")
            os._exit(EXIT_CHANNEL_LOST)
        last_words(error)  # of a signal handler of the user's that raised between calls
        code = EXIT_INTERNAL
    _process.leave(code)


def last_words(error: BaseException) -> None:
    """Why this process ends, for the node's log and for worker_exit."""
    write_stderr(formatted_within(error, LAST_WORDS_CHARACTERS))
