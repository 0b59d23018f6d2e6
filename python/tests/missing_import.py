"""A module that needs another, which is not installed."""

from __future__ import annotations

import krait_test_module_that_is_missing  # type: ignore[import]  # noqa: F401


def never() -> None:
    """The import above raises."""
