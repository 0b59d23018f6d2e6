"""From a CALL or BATCH frame to the frame that answers it.

    scope -> session -> resolve -> call -> await -> iterate -> encode -> answer

This is the careful way, for calls that have a session, a stream or a coroutine in them; the loop in
_worker.py has the short one for those that have not. Nothing here raises but what the sending raises:
whatever user code does becomes the answer. User code runs under engine.guarded(), so that an interrupt
hits that and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from krait._answers import Answers
from krait._context import Scope
from krait._convert import PLAIN
from krait._frames import BATCH
from krait._interrupt import Interrupted
from krait._stream import is_async_iterable, pump, pump_async

if TYPE_CHECKING:
    from krait._channel import Body
    from krait._engine import Engine

PLAIN_TYPES = frozenset(PLAIN)


def is_awaitable(value: Any) -> bool:
    """A coroutine, a future, or an object with `__await__`."""
    return type(value) not in PLAIN_TYPES and hasattr(type(value), "__await__")


def perform(engine: Engine, scope: Scope, answers: Answers) -> Optional[Body]:
    """The answer; None: it was handed over to a task, which will give it."""
    call_id = scope.id
    try:
        if scope.frame[0] == BATCH:
            return _batch(engine, scope, answers)
        value = engine.guarded(scope, _called, engine, scope)
        streamed = "stream" in scope.meta
        if is_awaitable(value) or (streamed and is_async_iterable(value)):
            if engine.hand_over(scope, answers, value):
                return None
            if is_awaitable(value):
                value = engine.guarded(scope, engine.finish, scope, value)
        if not streamed:
            return answers.result(call_id, value)
        if is_async_iterable(value):
            coroutine = pump_async(engine, scope, answers, value)
            body: Body = engine.guarded(scope, engine.finish, scope, coroutine)
            return body
        return pump(engine, scope, answers, value)
    except BaseException as error:
        return answers.error(call_id, error)


async def complete(engine: Engine, scope: Scope, answers: Answers, value: Any) -> Body:
    """The rest of perform() for a value that is awaitable or asynchronously iterable, in a task."""
    call_id = scope.id
    try:
        if is_awaitable(value):
            value = await value
        if "stream" not in scope.meta:
            return answers.result(call_id, value)
        if is_async_iterable(value):
            return await pump_async(engine, scope, answers, value)
        return await engine.pump_beside(scope, answers, value)
    except BaseException as error:
        return answers.error(call_id, engine.meant(scope, error))


def _called(engine: Engine, scope: Scope) -> Any:
    """What the function returns. Its module is imported before the session starts: it may have hooks."""
    engine.begin(scope)
    _, _, module, name, args, kwargs, meta = scope.frame
    function = engine.resolve(module, name)
    if meta and "session" in meta:
        engine.sessions.begin(scope)
    return function(*args, **kwargs)


def _batch(engine: Engine, scope: Scope, answers: Answers) -> Body:
    """One after the other, as if each had come alone; but an interrupt is for all of them."""
    outcomes: list[bytes] = []
    engine.guarded(scope, _batch_begins, engine, scope)
    for scope.element in scope.frame[2]:
        try:
            value = engine.guarded(scope, _element, engine, scope)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException as error:
            outcomes.append(answers.outcome_error(error))
        else:
            outcomes.append(answers.outcome(value))
    return answers.batch(scope.id, outcomes)


def _batch_begins(engine: Engine, scope: Scope) -> None:
    engine.begin(scope)
    if "session" in scope.meta:
        for module, name, _, _ in scope.frame[2]:
            try:
                engine.resolve(module, name)
            except Exception:  # it will be told when its turn comes
                pass
        engine.sessions.begin(scope)


def _element(engine: Engine, scope: Scope) -> Any:
    module, function, args, kwargs = scope.element
    return engine.settled(scope, engine.resolve(module, function)(*args, **kwargs))
