"""A module whose import takes its time: KRAIT_TEST_IMPORT_SECONDS, by default 2."""

from __future__ import annotations

import os
import time

time.sleep(float(os.environ.get("KRAIT_TEST_IMPORT_SECONDS", "2")))


def ready() -> bool:
    return True
