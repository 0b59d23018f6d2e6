"""The package under test is the one beside this folder."""

from __future__ import annotations

import os
import sys

import pytest

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [path for path in (os.path.dirname(TESTS), TESTS) if path not in sys.path]

from scripted_node import Node, let_inputs_be_sent  # noqa: E402
from support import Worker  # noqa: E402


@pytest.fixture
def worker():
    """A worker with default settings."""
    with Worker() as worker:
        yield worker


@pytest.fixture
def wire(worker):
    """A worker, and the node as a script."""
    return Node(worker)


@pytest.fixture
def inputs(monkeypatch):
    let_inputs_be_sent(monkeypatch)
