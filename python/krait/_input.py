"""Input streams: items that a process of the cluster gives when it is asked.

The caller passes {krait_input, Pid} as an argument, and the function gets an Input. When its items have
run out it calls the process, as gen_server calls go: {krait_input, next, N}. The process answers
{items, List}, with 1 to N of them, done, or {error, Reason}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

from krait._aio import running_loop
from krait._callback import Exit, call
from krait._terms import Atom, Pid

AHEAD = 16


class Input(Iterator, AsyncIterator):  # type: ignore[type-arg]
    """An iterator over what a process gives: `for item in input`, in a coroutine `async for`. `pid` is the
    process, `ahead` how many items it is asked for at a time. Raises Exit(reason) if the process dies or
    gives an error."""

    def __init__(self, pid: Pid, ahead: int = AHEAD) -> None:
        self.pid = pid
        self.ahead = ahead
        self._items: deque[Any] = deque()
        self._ended = False

    def __next__(self) -> Any:
        if not self._items and not self._ended:
            if running_loop() is not None:
                raise TypeError("in a coroutine the items of a krait.Input are taken with `async for`")
            self._take(call(self.pid, self._request(), None))
        if not self._items:
            raise StopIteration
        return self._items.popleft()

    async def __anext__(self) -> Any:
        if not self._items and not self._ended:
            self._take(await call(self.pid, self._request(), None))
        if not self._items:
            raise StopAsyncIteration
        return self._items.popleft()

    def _request(self) -> Any:
        if type(self.ahead) is not int or self.ahead < 1:
            raise ValueError(f"ahead is an int of at least 1, got {self.ahead!r}")
        return Atom("krait_input"), Atom("next"), self.ahead

    def _take(self, answer: Any) -> None:
        kind, value = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
        if kind == "items" and isinstance(value, list) and 1 <= len(value) <= self.ahead:
            self._items.extend(value)
            return
        self._ended = True
        if kind == "error" and answer != kind:
            raise Exit(value)
        if answer != "done":
            raise TypeError(
                f"an input answers {{items, List}} with 1 to {self.ahead} items, done or {{error, Reason}};"
                f" {self.pid!r} answered {answer!r:.200}"
            )

    def __repr__(self) -> str:
        return f"<krait.Input {self.pid!r}>"
