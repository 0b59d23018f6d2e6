"""Log records of Python's `logging`, on their way to the node's log with their levels.

    logging.warning("disk is full")  ->  <4>root: disk is full  ->  stderr  ->  the node, level warning

A line of standard error that begins with "<N>" says its level itself, as services of systemd do
(sd-daemon(3)); the node takes that off. Nothing else of a worker's output is looked at.

What can go wrong: standard error is closed or broken (the record is lost: logging.Handler.handleError); a
record cannot be formatted (likewise, and said on stderr by the library).
"""

from __future__ import annotations

import logging
import sys

_PRIORITIES = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))


class LogHandler(logging.Handler):
    """Writes records to standard error so that the node sees their levels.

        logging.basicConfig(level=logging.INFO, handlers=[krait.LogHandler()])

    Records of code that has configured no handler are written by one of these, from level WARNING on, as
    Python does itself.
    """

    default_format = "%(name)s: %(message)s"

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(self.default_format))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            priority = next((word for level, word in _PRIORITIES if record.levelno >= level), "<7>")
            lines = self.format(record).split("\n")
            # in one piece, so that lines of several threads do not mix
            sys.stderr.write("".join(f"{priority}{line}\n" for line in lines))
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def install() -> None:
    """For records that nobody else takes."""
    logging.lastResort = LogHandler(logging.WARNING)  # type: ignore[assignment]
