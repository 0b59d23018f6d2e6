"""Preloaded, it makes the first fork fail."""

import os

_fork = os.fork


def _failing() -> int:
    os.fork = _fork
    raise BlockingIOError(11, "no forks today")


os.fork = _failing
