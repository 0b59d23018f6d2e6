"""What serves the node: the part that is the same with one slot and with several.

    channel -> frame -> taken here (REPLY, DOWN, ASK, CLOSE, INTERRUPT, PING)
                     -> or work: CALL, BATCH, END_SESSION

The engine knows the calls that run, by id, and what of the node's is waited for, by the worker's own
ids. A frame for something that is no longer there is late, and is dropped.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Callable

from krait import _context
from krait._answers import Answers
from krait._channel import BadFrame, Body, Channel
from krait._codec import make_decoder
from krait._context import Scope
from krait._frames import (
    ASK,
    BATCH,
    CALL,
    CLOSE,
    DOWN,
    ELEMENTS,
    END_SESSION,
    INTERRUPT,
    PING,
    PONG,
    REPLY,
)
from krait._perform import is_awaitable
from krait._resolve import Resolver
from krait._session import Sessions
from krait._settings import Settings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

HOWS = ("ok", "exit", "timeout", "refused")  # frame.h: of a REPLY
LOST = "lost"  # beside those: the node is gone
ENDED = "ended"  # the call on whose behalf it was has ended
_BATCH_CALL = [str, str, list, dict]


class Wait:
    """Something that the node will say once: the REPLY to a callback, the DOWN of a monitor."""

    __slots__ = ("__weakref__", "done", "how", "id", "owner", "value", "wakes")

    def __init__(self, id_: int, owner: int) -> None:
        self.id = id_
        self.owner = owner  # the call on whose behalf it is
        self.done = False
        self.how = ""
        self.value: Any = None
        self.wakes: list[Callable[[], None]] = []  # tell those who wait; any thread may call them

    def finish(self, how: str, value: Any) -> None:
        """Once; later ones are ignored."""
        if not self.done:
            self.how, self.value = how, value
            self.done = True
            for wake in list(self.wakes):
                wake()


class Engine:
    """Base of both. What raises NotImplementedError differs."""

    interruption: type[BaseException] = KeyboardInterrupt  # what an interrupt raises

    def __init__(self, channel: Channel, settings: Settings, exposed: dict[str, Any]) -> None:
        self.channel = channel
        self.settings = settings
        _context.engine = self
        self.resolve = Resolver(exposed, settings.allow).resolve
        self.decode = make_decoder()
        self.answers = Answers(settings)
        self.sessions = Sessions(self)
        self.scopes: dict[int, Scope] = {}  # calls that run, but for plain ones with one slot
        self.open: dict[int, Wait] = {}  # what is waited for
        self._ids = itertools.count(1)

    # For those who perform calls.

    def guarded(self, scope: Scope, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), which is user code: an interrupt of this call raises in there, and only there."""
        raise NotImplementedError

    def held(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), which is Krait's code on behalf of user code: an interrupt waits until it has
        returned."""
        raise NotImplementedError

    def meant(self, scope: Scope, error: BaseException) -> BaseException:
        """The exception to tell instead of the CancelledError that an interrupt became."""
        raise NotImplementedError

    def begin(self, scope: Scope) -> None:
        """Raises if the call was interrupted before it began."""

    def finish(self, scope: Scope | None, awaitable: Awaitable[Any]) -> Any:
        """Waits for it on the event loop and returns what it comes to."""
        raise NotImplementedError

    def settled(self, scope: Scope | None, value: Any) -> Any:
        """The value, or what it comes to if it is awaitable."""
        return self.finish(scope, value) if is_awaitable(value) else value

    def hand_over(self, scope: Scope, answers: Answers, value: Any) -> bool:
        """Whether a task was made of complete(), which gives the answer."""
        return False

    async def pump_beside(self, scope: Scope, answers: Answers, value: Any) -> Body:
        """pump(), called in a task."""
        raise NotImplementedError

    def send(self, body: Body) -> None:
        """A frame that is not the answer to a plain call. Raises OSError."""
        self.channel.send(body)

    def drain(self) -> None:
        """Takes the frames that have come, as far as it is this thread's to do so."""

    def wait_for_credit(self, scope: Scope, sent: int) -> None:
        """Blocks until this stream may send more than so many items, or is to be closed."""
        raise NotImplementedError

    def credit_comes(self, scope: Scope, sent: int) -> asyncio.Future[None]:
        """The same for a task."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        scope.wake = lambda: call_in_loop(loop, wake)
        self.watch(loop)
        if scope.credit > sent or scope.closing:
            wake()
        return future

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on frames are taken while this loop, which is running, waits."""

    # For calls back.

    def opened(self, scope: Scope) -> Wait:
        """Something that is waited for on behalf of this call; raises RuntimeError if that has ended."""
        wait = Wait(next(self._ids), 0)
        self.open[wait.id] = wait
        frame = scope.frame
        wait.owner = 0 if frame is None else frame[1]
        if frame is None or scope.frame is not frame:  # looked at last: either end() saw the wait, or this
            self.forget(wait)
            raise RuntimeError("the call on whose behalf this is has ended")
        return wait

    def forget(self, wait: Wait) -> None:
        """What comes for it is dropped."""
        self.open.pop(wait.id, None)

    def wait(self, scope: Scope | None, wait: Wait, until: float | None, closing: bool) -> bool:
        """Blocks until it is done, or until time.monotonic() says so (False). Raises GeneratorExit if the
        call, a stream, is closed meanwhile; `closing`: it was when this began, and this is what it does
        about that."""
        raise NotImplementedError

    def wait_in(self, loop: asyncio.AbstractEventLoop, wait: Wait, finish: Callable[[], None]) -> None:
        """Calls finish() in this loop, which is running, when it is done."""
        wait.wakes.append(lambda: call_in_loop(loop, finish))
        if wait.done:
            finish()
        else:
            self.watch(loop)

    def look(self) -> None:
        """Takes what has come, if the thread that asks may."""

    def end(self, call_id: int) -> None:
        """What was still waited for on behalf of this call ends with it."""
        for wait in [wait for wait in list(self.open.values()) if wait.owner == call_id]:
            self.open.pop(wait.id, None)
            wait.finish(ENDED, None)

    # What comes.

    def take(self, frame: Any) -> bool:
        """Whether this frame is dealt with; False: it is work. Raises BadFrame."""
        type_, id_ = frame[0], frame[1]
        if type_ == REPLY or type_ == DOWN:
            wait = self.open.pop(id_, None)
            if wait is not None:
                wait.finish(*(("down", frame[2]) if type_ == DOWN else frame[2:]))
        elif type_ == ASK or type_ == CLOSE:
            scope = self.scopes.get(id_)
            if scope is not None:
                if type_ == ASK:
                    scope.credit += frame[2]
                else:
                    scope.closing = True
                if scope.wake is not None:
                    scope.wake()
        elif type_ == INTERRUPT:
            self.interrupted(id_)
        elif type_ == PING:
            self.send(self.pong(id_))
        else:
            return False
        return True

    def interrupted(self, call_id: int) -> None:
        """An INTERRUPT frame was read."""

    def pong(self, id_: int) -> bytes:
        """The answer to a PING or an END_SESSION."""
        return self.answers.plain(PONG, id_)

    def lost(self) -> None:
        """The node is gone: nothing that is waited for will come."""
        for wait in list(self.open.values()):
            wait.finish(LOST, None)
        for scope in list(self.scopes.values()):
            scope.closing = True
            if scope.wake is not None:
                scope.wake()

    def last(self) -> None:
        """The channel has ended: sessions do too."""
        self.sessions.end_all()


def checked(frame: Any) -> Any:
    """The frame, if it is one of those that come to a worker; else raises BadFrame."""
    if not isinstance(frame, list) or len(frame) < 2 or ELEMENTS.get(frame[0]) != len(frame):
        raise BadFrame(f"a frame of type {frame[0]} and {len(frame)} elements")
    type_ = frame[0]
    if type_ == CALL or type_ == BATCH:
        whole = _is_meta(frame[-1]) and (type_ == CALL or _are_calls(frame[2]))
    elif type_ == ASK or type_ == END_SESSION:
        whole = type(frame[2]) is int and frame[2] >= 0
    else:
        whole = type_ != REPLY or frame[2] in HOWS
    if not whole:
        raise BadFrame(f"a frame of type {type_} with other elements than it has")
    return frame


def _is_meta(meta: Any) -> bool:
    if meta is None:
        return True
    if not isinstance(meta, dict):
        return False
    session = meta.get("session", [0, None])
    credit = meta.get("stream", 0)
    return (
        isinstance(session, list)
        and len(session) == 2
        and type(session[0]) is int
        and type(credit) is int
        and credit >= 0
    )


def _are_calls(calls: Any) -> bool:
    return isinstance(calls, list) and all(
        isinstance(call, list) and [type(part) for part in call] == _BATCH_CALL for call in calls
    )


def call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """From any thread; a loop that is closed waits for nothing."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass
