"""Preloaded, it makes this Python look like a free-threaded one."""

import sys

sys._is_gil_enabled = lambda: False  # type: ignore[attr-defined]
