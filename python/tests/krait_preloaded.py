"""What a preload may leave behind: exit handlers, loggers that hold the streams; and what it found."""

import atexit
import logging
import os
import sys

ENVIRONMENT = dict(os.environ)

_log = logging.getLogger("preloaded")
_log.addHandler(logging.StreamHandler(sys.stderr))
_log.handlers[0].setFormatter(logging.Formatter("%(name)s: %(message)s"))
atexit.register(print, "goodbye")


def warn(text: str) -> None:
    _log.warning(text)
