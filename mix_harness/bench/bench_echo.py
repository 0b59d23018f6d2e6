"""What the node's workers run in the benchmark."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def echo(value: Any) -> Any:
    return value


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def die() -> None:
    """Ends this worker as an out-of-memory kill would."""
    os.kill(os.getpid(), signal.SIGKILL)
