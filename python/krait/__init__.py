"""Krait: Python workers for a cluster of BEAM nodes.

Code that runs on a worker needs nothing from here: functions take and return plain Python values.
This package is for what has no plain value (atoms, pids, the precision of a time), for objects of your own
(`register_encoder`, `__krait__`), for what a call can know about itself (`current_call`), for what lasts
from call to call (`session`), and for talking to the processes of the cluster (`call`, `send`, `rpc`,
`monitor`, `progress`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from krait._callback import Exit, Monitor, Timeout, call, monitor, progress, rpc, send
from krait._context import Call, current_call
from krait._convert import EncodeError, register_encoder
from krait._input import Input
from krait._interrupt import Interrupted
from krait._session import Session, on_session_end, on_session_start, session
from krait._structs import DateTime, FrozenMapSet, MapSet, Time, Zone
from krait._terms import Atom, Export, ListKey, MapKey, Opaque, Pid, Port, Reference
from krait._version import __version__

if TYPE_CHECKING:
    from krait._logging import LogHandler

__all__ = [
    "Atom",
    "Call",
    "DateTime",
    "EncodeError",
    "Exit",
    "Export",
    "FrozenMapSet",
    "Input",
    "Interrupted",
    "ListKey",
    "LogHandler",
    "MapKey",
    "MapSet",
    "Monitor",
    "Opaque",
    "Pid",
    "Port",
    "Reference",
    "Session",
    "Time",
    "Timeout",
    "Zone",
    "__version__",
    "call",
    "current_call",
    "identity",
    "monitor",
    "on_session_end",
    "on_session_start",
    "progress",
    "register_encoder",
    "rpc",
    "send",
    "session",
]

_T = TypeVar("_T")

for _class in [_thing for _thing in list(globals().values()) if isinstance(_thing, type)]:
    if _class.__module__.startswith("krait._"):
        _class.__module__ = "krait"  # where it is to be found, as errors and tracebacks tell it
del _class


def __getattr__(name: str) -> Any:
    """What is loaded when somebody wants it: `logging` takes its time."""
    if name == "LogHandler":
        from krait._logging import LogHandler

        LogHandler.__module__ = "krait"
        return LogHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def identity(x: _T) -> _T:
    """Returns its argument: for trying out how a term travels."""
    return x
