"""A stream: what a function returned, item by item, as far as the caller has asked.

The happy path: iter() succeeds (OPENED); for each item of credit the iterator is resumed once (ITEM);
its end is the stream's (RESULT nil). Without credit it waits for ASK, and the iterator is not touched.
What can go wrong: CLOSE comes (the generator is closed, so that its `finally` runs, then RESULT nil; if
it waits for something that Krait sees, a call back or what an event loop waits for, the wait ends in
GeneratorExit, or in CancelledError); it raises, in an item or while it closes (ERROR); an item has no term (ERROR, the generator is closed); an
interrupt comes, while it runs or while it waits for credit (ERROR, closed likewise); what was returned
cannot be iterated over (ERROR, a TypeError).

An iterator without close() is simply let go. A file is its own iterator, and is closed.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from krait._convert import type_name
from krait._failure import formatted, write_stderr
from krait._frames import OPENED, RESULT

if TYPE_CHECKING:
    from krait._answers import Answers
    from krait._channel import Body
    from krait._context import Scope
    from krait._engine import Engine

_END = object()
LOOK_SECONDS = 0.001  # how often a quick generator looks for what has come: each time costs 0.7 us


def is_async_iterable(value: Any) -> bool:
    """Whether `async for` takes it."""
    return hasattr(type(value), "__aiter__")


def pump(engine: Engine, scope: Scope, answers: Answers, value: Any) -> Body:
    """Sends OPENED and the items; returns RESULT or ERROR. Raises what the sending raises."""
    guarded, drain, send, item_frame = engine.guarded, engine.drain, engine.send, answers.item
    call_id, sent = scope.id, 0
    try:
        iterator = guarded(scope, _iterator, value)
    except BaseException as error:
        return answers.error(call_id, error)
    del value
    send(answers.plain(OPENED, call_id))
    encoding, look = False, 0.0
    try:
        while True:
            if sent >= scope.credit or monotonic() >= look:
                drain()
                look = monotonic() + LOOK_SECONDS
            if scope.interrupted:
                _heed(engine, scope)
            if sent >= scope.credit and not scope.closing:
                guarded(scope, engine.wait_for_credit, scope, sent)
            if scope.closing:
                break
            item = guarded(scope, next, iterator, _END)
            if item is _END:
                return answers.plain(RESULT, call_id, None)
            sent += 1
            encoding = True
            body: Any = item_frame(call_id, item)
            encoding = False
            send(body)
            item = body = None  # they may be large, and the next one may take a while
    except BaseException as error:
        if not scope.closing or not isinstance(error, GeneratorExit):
            failure = answers.error(call_id, error, encoding)
            try:
                guarded(scope, _close, iterator)
            except BaseException as second:
                write_stderr(formatted(second))
            return failure
    try:
        guarded(scope, _close, iterator)
    except BaseException as error:
        write_stderr(formatted(error))
        return answers.error(call_id, error)
    return answers.plain(RESULT, call_id, None)


async def pump_async(engine: Engine, scope: Scope, answers: Answers, value: Any) -> Body:
    """The same in a task, for what `async for` takes. All items come from the one task, so that what the
    generator keeps in context variables stays there."""
    held, call_id, sent = engine.held, scope.id, 0
    try:
        iterator = _async_iterator(value)
    except BaseException as error:
        return answers.error(call_id, error)
    del value
    held(engine.send, answers.plain(OPENED, call_id))
    closing = _Closing(engine, scope)
    try:
        while True:
            engine.drain()
            _heed(engine, scope)
            while sent >= scope.credit and not scope.closing:
                await engine.credit_comes(scope, sent)
            if scope.closing:
                break
            closing.begin()
            try:
                item = await iterator.__anext__()
            except StopAsyncIteration:
                return answers.plain(RESULT, call_id, None)
            finally:
                closing.waits = False
            sent += 1
            held(_send_item, engine, answers, call_id, item)
            item = None
    except BaseException as error:
        if not closing.is_what_ended(error):
            encoding = isinstance(error, _NoItem)
            why = error.args[0] if encoding else engine.meant(scope, error)
            failure = answers.error(call_id, why, encoding)
            try:
                await _close_async(iterator)
            except BaseException as second:
                write_stderr(formatted(second))
            return failure
    try:
        await _close_async(iterator)
    except BaseException as error:
        write_stderr(formatted(error))
        return answers.error(call_id, engine.meant(scope, error))
    return answers.plain(RESULT, call_id, None)


class _Closing:
    """Lets a CLOSE end what an async generator waits for in the middle of an item: it cannot be closed
    there, but its task can be cancelled."""

    __slots__ = ("_loop", "_scope", "_struck", "_task", "waits")

    def __init__(self, engine: Engine, scope: Scope) -> None:
        import asyncio

        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._struck = False
        self.waits = False  # for an item
        engine.watch(self._loop)

    def begin(self) -> None:
        """It waits for an item from now on."""
        self.waits = True
        self._scope.wake = self._wake
        self._wake()

    def _wake(self) -> None:
        if self._scope.closing:  # else it was an ASK
            try:
                self._loop.call_soon_threadsafe(self._strike)
            except RuntimeError:  # it is closed: the worker ends
                pass

    def _strike(self) -> None:
        if self.waits and not self._struck and self._task is not None:
            self._struck = True
            self._task.cancel()

    def is_what_ended(self, error: BaseException) -> bool:
        """Whether that is the CancelledError of here, and nobody else's."""
        if not self._struck or self._scope.cancelled or type(error).__name__ != "CancelledError":
            return False
        if self._task is not None and hasattr(self._task, "uncancel"):  # 3.11: time-outs count
            self._task.uncancel()
        return True


class _NoItem(Exception):
    """An item could not be encoded; the argument is why."""


def _send_item(engine: Engine, answers: Answers, call_id: int, item: Any) -> None:
    try:
        body = answers.item(call_id, item)
    except BaseException as error:
        raise _NoItem(error) from None
    engine.send(body)


def _heed(engine: Engine, scope: Scope) -> None:
    if scope.take_interrupt():
        raise engine.interruption


def _iterator(value: Any) -> Any:
    try:
        return iter(value)
    except TypeError as error:
        if hasattr(type(value), "__iter__"):
            raise
        raise TypeError(_REFUSED.format(type_name(value))) from error


def _async_iterator(value: Any) -> Any:
    iterator = type(value).__aiter__(value)
    if not hasattr(type(iterator), "__anext__"):
        raise TypeError(_REFUSED.format(type_name(iterator)))
    return iterator


_REFUSED = "a stream needs something to iterate over, and the function returned {}"


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


async def _close_async(iterator: Any) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
