"""A module whose import fails for as long as the file named by KRAIT_TEST_BROKEN exists."""

from __future__ import annotations

import os

if os.path.exists(os.environ.get("KRAIT_TEST_BROKEN", "")):
    raise RuntimeError("flaky_import is broken for now")


def ready() -> bool:
    return True
