"""Sessions: what a name on the BEAM keeps on one worker.

The happy path: the first call of a session brings a token that is not known; the start hooks run, then
the call; each further call finds the same mapping; END_SESSION, or the end of the worker, runs the end
hooks, the last registered first.
What can go wrong: a start hook raises (the call's error, and the session is not known, so that the next
call starts it again; end hooks are not run); an end hook raises (a traceback on standard error, the
others run nevertheless).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from krait import _context
from krait._failure import formatted, write_stderr

if TYPE_CHECKING:
    from krait._context import Scope
    from krait._engine import Engine

_Hook = TypeVar("_Hook", bound=Callable[..., Any])

_start_hooks: list[Callable[[Session], Any]] = []
_end_hooks: list[Callable[[Session], Any]] = []


class Session(MutableMapping):  # type: ignore[type-arg]
    """What lasts from call to call of one session: a mapping for whatever you like to keep, and `id`, the
    name by which the callers know it."""

    def __init__(self, id: Any) -> None:  # noqa: A002
        self.id = id
        self._kept: dict[Any, Any] = {}
        self._started = threading.Event()

    def __getitem__(self, key: Any) -> Any:
        return self._kept[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._kept[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._kept[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __bool__(self) -> bool:
        return True  # `if session` asks for the session, not whether it is empty

    def __repr__(self) -> str:
        return f"<krait.Session {self.id!r} {self._kept!r}>"


def on_session_start(hook: _Hook) -> _Hook:
    """Decorator: `hook(session)` runs before the first call of each session, plain or async, in the order
    of registration. If it raises, that call fails and the session has not started.

    >>> @on_session_start
    ... def connect(session):
    ...     session["db"] = connect_to(session.id)
    """
    return _register(_start_hooks, hook)


def on_session_end(hook: _Hook) -> _Hook:
    """Decorator: `hook(session)` runs when a session ends or its worker does, plain or async, in the
    reverse order of registration. It runs outside of any call. What it raises is told on standard error."""
    return _register(_end_hooks, hook)


def _register(hooks: list[Callable[[Session], Any]], hook: _Hook) -> _Hook:
    if not callable(hook):
        raise TypeError(f"a function of one argument, the session, is needed, got {hook!r}")
    hooks.append(hook)
    return hook


def session() -> Session:
    """The session that the running call belongs to; LookupError if it belongs to none."""
    scope = _context.current()
    words = None if scope is None else scope.meta.get("session")
    if words is None or _context.engine is None:
        raise LookupError("this call belongs to no session")
    return _context.engine.sessions.known[words[0]]


class Sessions:
    """Those that this worker knows, by token."""

    def __init__(self, engine: Engine) -> None:
        self.known: dict[int, Session] = {}
        self._engine = engine
        self._lock = threading.Lock()
        self._starting: dict[int, int] = {}  # token: the thread that runs its start hooks

    def begin(self, scope: Scope) -> None:
        """Starts the session of this call if it is not known; waits if another thread does. Raises what
        the hooks raise."""
        token, id_ = scope.meta["session"]
        session = self.known.get(token)
        if session is not None and session._started.is_set():
            return
        while True:
            with self._lock:
                session = self.known.get(token)
                if session is None:
                    session = self.known[token] = Session(id_)
                    self._starting[token] = threading.get_ident()
                    break
                if session._started.is_set() or self._starting[token] == threading.get_ident():
                    return
            session._started.wait()
        try:
            for hook in list(_start_hooks):
                self._engine.settled(scope, hook(session))
        except BaseException:
            del self.known[token]
            raise
        finally:
            del self._starting[token]
            session._started.set()

    def end(self, token: int) -> None:
        """Runs the end hooks, if there is such a session. Raises nothing."""
        session = self.known.pop(token, None)
        if session is None:
            return
        for hook in reversed(_end_hooks):
            try:
                self._engine.settled(None, hook(session))
            except BaseException as error:
                write_stderr(formatted(error))

    def end_all(self) -> None:
        """The last that started first."""
        for token in reversed(list(self.known)):
            self.end(token)
