"""Functions for the suites of rpc and of batches."""

from __future__ import annotations

import os
from typing import Any, NoReturn


class Model:
    """Something whose method is called by a dotted name."""

    def __init__(self) -> None:
        raise AssertionError("never made")

    @staticmethod
    def fit(steps: int) -> NoReturn:
        _inner(steps)
        raise AssertionError("not reached")


def _inner(steps: int) -> Any:
    return steps / 0


def divide(a: float, b: float) -> float:
    return a / b


def outer(steps: int) -> Any:
    return _inner(steps)


def deep(n: int) -> Any:
    return deep(n - 1) if n > 0 else _inner(1)


def naïve(x: Any) -> Any:
    return x / 0


def in_file(path: str, code: str) -> Any:
    """Runs code that believes to be in that file."""
    exec(compile(code, path, "exec"), {"__name__": "a" * 300})


def die_once(path: str) -> str:
    """Dies, unless the file is there; makes it before."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "survived"
    os._exit(1)
