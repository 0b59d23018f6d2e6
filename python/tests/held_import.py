"""A module whose import takes as long as the test likes: it connects to KRAIT_TEST_GATE, a port of this machine,
and waits for a byte."""

from __future__ import annotations

import os
import socket

with socket.create_connection(("127.0.0.1", int(os.environ["KRAIT_TEST_GATE"]))) as gate:
    opened = gate.recv(1)
    if not opened:
        raise ImportError("the test has gone")
