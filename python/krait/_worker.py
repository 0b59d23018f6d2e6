"""A worker: one call after the other.

    channel -> receive -> decode -> resolve -> call -> encode -> send -> channel

The happy path: HELLO when it can serve; then each CALL gets one RESULT, each PING a PONG, until the
node closes the channel (or has sent ahead, _ahead.py); then its sessions end, exit handlers run and it leaves with EXIT_OK. The loop
does plain calls itself; for what is more (sessions, streams, batches) it asks the desk (_desk.py).
What can go wrong: the function raises anything at all, or its result has no term (ERROR, and the next
call is served); the node interrupts a call (SIGINT: KeyboardInterrupt in the function, nowhere else);
the start fails (traceback on stderr, EXIT_START_FAILED); the channel breaks (EXIT_CHANNEL_LOST) or
speaks another language (EXIT_BAD_FRAME).

User code that installs its own SIGINT handler takes interrupts upon itself; the node's SIGKILL after
`interrupt_grace` remains.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any, Callable, NoReturn, Optional

import msgpack

from krait import _context, _process
from krait._ahead import Taken, taker
from krait._ahead import none as none_ahead
from krait._answers import Answers
from krait._channel import BadFrame, Channel, ChannelLost
from krait._desk import Desk
from krait._engine import checked
from krait._exits import EXIT_BAD_FRAME, EXIT_CHANNEL_LOST, EXIT_INTERNAL, EXIT_OK, EXIT_START_FAILED
from krait._failure import formatted_within, write_stderr
from krait._frames import CALL, CALL_ELEMENTS, HELLO
from krait._interrupt import Interrupt, beside
from krait._perform import PLAIN_TYPES, is_awaitable
from krait._resolve import expose
from krait._settings import Settings
from krait._version import __version__

LAST_WORDS_CHARACTERS = 16 << 10


def versions() -> dict[str, str]:
    """What HELLO and "ready" tell of this process."""
    return {
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "krait": __version__,
        "msgpack": ".".join(str(part) for part in msgpack.version),
        "gil": "enabled" if getattr(sys, "_is_gil_enabled", lambda: True)() else "disabled",
    }


def serve(
    channel: Channel,
    settings: Settings,
    exposed: dict[str, Any],
    interrupt: Interrupt,
    take: Callable[[], Optional[Taken]] = none_ahead,
) -> int:
    """Says HELLO and answers until the node closes the channel; returns EXIT_OK. Raises what the
    channel raises: ChannelLost, OSError, BadFrame."""
    hello = Answers(settings).plain(HELLO, 0, os.getpid(), versions())
    if settings.slots > 1:
        from krait._slots import Slots

        slots = Slots(channel, settings, exposed)
        channel.send(hello)
        return slots.serve()
    desk = Desk(channel, settings, exposed, interrupt)
    channel.send(hello)
    code = _loop(channel, desk, interrupt, take)
    desk.last()
    return code


def _loop(channel: Channel, desk: Desk, interrupt: Interrupt, take: Callable[[], Optional[Taken]]) -> int:
    wait, receive, send, decode, resolve = (
        channel.wait,
        channel.receive,
        channel.send_alone,
        desk.decode,
        desk.resolve,
    )
    encode, failed = desk.answers.result, desk.answers.error
    flush_output, monotonic, running = _process.flush_output, time.monotonic, _context.running
    open_, plain_types = desk.open, PLAIN_TYPES
    frame = args = kwargs = meta = result = answer = taken = None  # type: Any
    while True:
        if taken is not None:
            data = taken[0]
            taken = None
        else:
            if not channel.pending:
                wait()
            data = receive()
        if data is None:
            return EXIT_OK
        try:
            frame = decode(data)
            type_, call_id = frame[0], frame[1]
            if type_ != CALL or len(frame) != CALL_ELEMENTS:
                data = args = None
                desk.between(checked(frame))
                frame = None
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
            if len(meta) > 1 or "deadline_ms" not in meta:  # a session, a stream ...
                desk.between(checked(frame))
                frame = args = kwargs = meta = None
                continue
        running.frame = frame
        try:
            try:
                interrupt.armed = True
                if interrupt.early:
                    interrupt.early = False
                    if desk.interrupt_waits(call_id):
                        raise KeyboardInterrupt
                result = resolve(module, function)(*args, **kwargs)
                if type(result) not in plain_types and is_awaitable(result):
                    result = desk.finish_plain(result)
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
        if open_:
            desk.answer(call_id, answer)
        else:
            taken = take()
            if taken is None:
                send(answer)
            else:
                send(answer, taken[1])
        frame = args = kwargs = meta = result = answer = None  # nor while none runs


beside.add(_loop.__code__)


def _id_of(data: Any) -> int:
    """The id of a frame that could not be decoded."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(bytes(data[:32]))
    unpacker.read_array_header()
    type_, call_id = unpacker.unpack(), unpacker.unpack()
    if type_ != CALL:
        raise BadFrame("not a call")
    return call_id


def run(sock: socket.socket, settings: Settings, index: int, ahead: Optional[socket.socket] = None) -> NoReturn:
    """A worker's life in a process of its own, from here to the exit status. `ahead`: its end of the queue of
    calls that are sent ahead."""
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
        _process.ForkGuard(sock, interrupt, ahead).install()
        take = taker(ahead) if ahead is not None else none_ahead
        code = serve(Channel(sock), settings, exposed, interrupt, take)
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
