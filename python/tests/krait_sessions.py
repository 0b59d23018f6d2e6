"""Functions that have sessions, for the suites of Krait. Put this folder on the workers' path. The hooks
print what they hear; a session with the id "broken" does not start, "untidy" does not end well, "slow"
waits in its start for an interrupt."""

from __future__ import annotations

import asyncio
from typing import Any

import krait


@krait.on_session_start
def first_start(session: krait.Session) -> None:
    session["started"] = session.get("started", 0) + 1
    print(f"start {session.id}", flush=True)
    if session.id == "broken":
        raise ValueError("no start")
    if session.id == "slow":
        while True:
            pass


@krait.on_session_start
async def second_start(session: krait.Session) -> None:
    await asyncio.sleep(0)
    session["started"] += 1


@krait.on_session_end
def first_end(session: krait.Session) -> None:
    print(f"end {session.id} {session.get('count')}", flush=True)


@krait.on_session_end
async def second_end(session: krait.Session) -> None:
    await asyncio.sleep(0)
    print(f"ending {session.id}", flush=True)
    if session.id == "untidy":
        raise ValueError("no end")


def incr(by: int = 1) -> int:
    session = krait.session()
    session["count"] = session.get("count", 0) + by
    return session["count"]


def put(key: Any, value: Any) -> None:
    krait.session()[key] = value


def content() -> Any:
    session = krait.session()
    return [session.id, dict(session)]


def no_session() -> Any:
    try:
        return krait.session().id
    except LookupError as error:
        return str(error)


def at_exit() -> None:
    import atexit

    atexit.register(print, "atexit")
