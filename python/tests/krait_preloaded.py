"""What a preload may leave behind: exit handlers, loggers that hold the streams."""

import atexit
import logging
import sys

_log = logging.getLogger("preloaded")
_log.addHandler(logging.StreamHandler(sys.stderr))
_log.handlers[0].setFormatter(logging.Formatter("%(name)s: %(message)s"))
atexit.register(print, "goodbye")


def warn(text: str) -> None:
    _log.warning(text)
