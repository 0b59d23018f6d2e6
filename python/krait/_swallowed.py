"""Interrupts that Python swallowed.

What is raised in a finalizer, or in the callback of a weak reference or of the garbage collector, has nobody
to go to: Python tells sys.unraisablehook ("Exception ignored in ...") and goes on. An interrupt that happens to
strike there would be lost, and the node sends no second one. It is not even rare: asyncio's sets of tasks are
weak, and each task that ends runs such a callback. So the hook has the interrupt raised again, in the code
around. That must not happen in the hook itself, from where it would be lost as well. But Python looks for
signals only where its own code runs, so what is done while the hook's frame is torn down, by C code alone, is
noticed just behind it: there an object ends, and the callback of a weak reference to it is a C function.

User code that sets a hook of its own takes this upon itself.
"""

from __future__ import annotations

import sys
import threading
import weakref
from functools import partial
from typing import Any, Callable, Optional

# A C function that is given one object, which it ignores.
Again = Callable[[Any], object]


def install(again: Callable[[BaseException], Optional[Again]]) -> None:
    """again(error) is asked of what was swallowed, on its thread: what raises it again there, or None: it is
    no interrupt."""
    before = sys.unraisablehook
    ends: dict[int, weakref.ref[set[None]]] = {}

    def hook(unraisable: Any) -> None:
        do = again(unraisable.exc_value)
        if do is None:
            before(unraisable)
        else:
            end: set[None] = set()
            ends[threading.get_ident()] = weakref.ref(end, do)

    sys.unraisablehook = hook


def by_signal() -> Again:
    """As if SIGINT had come only now."""
    import ctypes

    return ctypes.PYFUNCTYPE(None, ctypes.py_object)(("PyErr_SetInterrupt", ctypes.pythonapi))


def in_this_thread(error: type[BaseException]) -> Again:
    """As PyThreadState_SetAsyncExc does."""
    import ctypes

    prototype = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object, ctypes.py_object)
    raise_in = prototype(("PyThreadState_SetAsyncExc", ctypes.pythonapi))
    return partial(raise_in, threading.get_ident(), error)
