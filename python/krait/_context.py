"""What the running call can know about itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Call:
    """The call that this worker is running."""

    id: int
    module: str
    function: str
    traceparent: Optional[str]  # W3C trace context, if the caller gave one
    deadline: Optional[float]  # in time.monotonic()'s seconds; None: no time limit

    def remaining(self) -> float | None:
        """Seconds left, not below 0; None: no time limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class _Running:
    """Set by the worker's loop. Reading it is made the costly part, for most calls do not."""

    __slots__ = ("began", "frame")

    def __init__(self) -> None:
        self.frame: Any = None  # the CALL frame: type, id, module, function, args, kwargs, meta
        self.began = 0.0  # time.monotonic() when it arrived, if it has meta


running = _Running()


def current_call() -> Call | None:
    """The call that is running, also when asked from a thread that it started; None between calls."""
    frame = running.frame
    if frame is None:
        return None
    meta = frame[6] or {}
    left = meta.get("deadline_ms")
    return Call(
        id=frame[1],
        module=frame[2],
        function=frame[3],
        traceparent=meta.get("traceparent"),
        deadline=None if left is None else running.began + left / 1000,
    )
