"""Code that Python does not let raise: what goes wrong in there is told on stderr, and ignored."""

from __future__ import annotations

import gc
import weakref
from typing import Any, Callable


def _spin(*_: Any) -> None:
    print("begun", flush=True)
    while True:
        pass


class Dies:
    def __del__(self) -> None:
        _spin()


class Referred:
    pass


def finalizer() -> None:
    Dies()


def weak() -> None:
    referred = Referred()
    weakref.finalize(referred, _spin)
    del referred


def collected() -> None:
    """Its callback is called twice: the interrupt is heard between the two."""
    gc.callbacks.append(_spin)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(_spin)


def at_its_end() -> None:
    """While the frame is torn down."""
    dies = Dies()
    return None if dies else None


HOWS: dict[str, Callable[[], None]] = {
    "finalizer": finalizer,
    "weak": weak,
    "collected": collected,
    "at_its_end": at_its_end,
}


def swallows(how: str) -> None:
    """Never ends by itself, interrupted though it was."""
    HOWS[how]()
    while True:
        pass


def survives(how: str) -> str:
    try:
        swallows(how)
    except BaseException as error:
        return type(error).__name__
    return "not interrupted"


async def awaits(how: str) -> None:
    import asyncio

    HOWS[how]()
    await asyncio.Event().wait()


async def survives_awaiting(how: str) -> str:
    try:
        await awaits(how)
    except BaseException as error:
        return type(error).__name__
    return "not interrupted"


def really_ignored() -> None:
    class Raises:
        def __del__(self) -> None:
            raise ValueError("said in a finalizer")

    Raises()
