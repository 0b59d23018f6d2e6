"""The numbers of the worker wire; include/frame.h is the specification."""

from __future__ import annotations

# To the worker.
CALL, PING, INTERRUPT, ASK, CLOSE, BATCH, REPLY, END_SESSION, DOWN = range(1, 10)
# From the worker.
HELLO, RESULT, ERROR, PONG, OPENED, ITEM, CALLBACK, PROGRESS, TAKEN = range(1, 10)

# Elements of each frame to the worker, type and id among them.
ELEMENTS = {
    CALL: 7,
    PING: 2,
    INTERRUPT: 2,
    ASK: 3,
    CLOSE: 2,
    BATCH: 4,
    REPLY: 4,
    END_SESSION: 3,
    DOWN: 3,
}
CALL_ELEMENTS = ELEMENTS[CALL]
