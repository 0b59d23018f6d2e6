"""Log records: their levels, in front of each of their lines."""

from __future__ import annotations

import io
import logging
import sys

import pytest

import krait
from krait import _logging


@pytest.fixture
def log():
    logger = logging.Logger("app.part")
    logger.addHandler(krait.LogHandler())
    return logger


@pytest.mark.parametrize(
    "level, priority",
    [(logging.CRITICAL, 3), (logging.ERROR, 3), (35, 4), (logging.WARNING, 4), (25, 6), (logging.INFO, 6), (15, 7), (logging.DEBUG, 7), (1, 7)],
)
def test_a_record_says_its_level(capsys, log, level, priority):
    log.log(level, "%s of %d", "one", 2)
    assert capsys.readouterr().err == f"<{priority}>app.part: one of 2\n"


def test_each_line_of_a_record_says_it(capsys, log):
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it failed:\x0bhere")
    lines = capsys.readouterr().err.split("\n")
    assert lines[0] == "<3>app.part: it failed:\x0bhere" and lines[1].startswith("<3>Traceback")
    assert lines[-3:] == ["<3>ValueError: two", "<3>lines", ""]


def test_a_format_of_ones_own(capsys, log):
    log.handlers[0].setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.warning("so")
    assert capsys.readouterr().err == "<4>WARNING so\n"


def test_a_record_that_cannot_be_written_costs_nobody_anything(monkeypatch, log):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.warning("lost")


def test_records_that_nobody_takes_are_written_by_one(monkeypatch, capsys):
    monkeypatch.setattr(logging, "lastResort", None)
    _logging.install()
    logger = logging.Logger("nobody")
    logger.info("not said by default")
    logger.warning("so it is")
    assert capsys.readouterr().err == "<4>nobody: so it is\n"
