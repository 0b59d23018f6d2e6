"""The node as a script, for workers that ask something of the cluster while they run a call."""

from __future__ import annotations

import os
import signal

import msgpack

from krait import _codec
from krait._terms import Atom, Pid

M = "krait_callbacks"
PID = Pid(b"X\x77\x06krait@\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03")


class Node:
    """The node as a script: it expects frames and answers them."""

    def __init__(self, worker):
        self.worker = worker

    def cast(self, function, *args, meta=None, module=M):
        return self.worker.cast(module, function, *args, meta=meta)

    def asked(self, call_id, kind="call"):
        """A CALLBACK of that call: (its id, dest, value, timeout)."""
        frame = self.worker.receive()
        assert frame is not None, self.worker.read(self.worker.err)
        assert frame[0] == 7 and frame[2] == call_id and frame[3] == kind, frame
        return frame[1], frame[4], frame[5], frame[6]

    def reply(self, callback_id, value, how="ok"):
        self.worker.send([7, callback_id, how, value])

    def down(self, monitor_id, reason):
        self.worker.send([9, monitor_id, reason])

    def answered(self, call_id):
        return self.worker.answer(call_id)

    def interrupt(self, call_id):
        self.worker.send([3, call_id])
        os.kill(self.worker.pid, signal.SIGINT)

    def alive(self):
        assert self.worker.value("echo", 1) == 1


def failure(answer):
    assert answer[:2] == ("error", "python"), answer
    return answer[2], answer[4]


# Input streams


class Raw:
    """An extension that only the node sends."""

    def __init__(self, code, data):
        self.ext = msgpack.ExtType(code, data)


INPUT = Raw(11, PID.data)


def let_inputs_be_sent(monkeypatch):
    """The scripted node can send them."""
    plain = _codec.Encoder.encode

    def encode(self, value, root="result"):
        def replaced(part):
            if isinstance(part, Raw):
                return part.ext
            if type(part) is list:
                return [replaced(element) for element in part]
            return part

        if type(value) is list and INPUT in (value[4] if len(value) == 7 and type(value[4]) is list else []):
            return msgpack.packb(replaced(value))
        return plain(self, value, root)

    monkeypatch.setattr(_codec.Encoder, "encode", encode)


def items(*values):
    return (Atom("items"), list(values))
