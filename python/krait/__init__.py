"""Krait: Python workers for a cluster of BEAM nodes.

Code that runs on a worker needs nothing from here: functions take and return plain Python values.
This package is for what has no plain value (atoms, pids), for objects of your own
(`register_encoder`, `__krait__`), and for what a call can know about itself (`current_call`).
"""

from __future__ import annotations

from typing import TypeVar

from krait._context import Call, current_call
from krait._convert import EncodeError, register_encoder
from krait._session import Session, on_session_end, on_session_start, session
from krait._terms import Atom, Export, ListKey, MapKey, Opaque, Pid, Port, Reference
from krait._version import __version__

__all__ = [
    "Atom",
    "Call",
    "EncodeError",
    "Export",
    "ListKey",
    "MapKey",
    "Opaque",
    "Pid",
    "Port",
    "Reference",
    "Session",
    "__version__",
    "current_call",
    "identity",
    "on_session_end",
    "on_session_start",
    "register_encoder",
    "session",
]

_T = TypeVar("_T")


def identity(x: _T) -> _T:
    """Returns its argument: for trying out how a term travels."""
    return x
