"""Functions that call back: what callbacks_test.exs makes workers do."""

from __future__ import annotations

from typing import Any

import krait


def call(dest: Any, request: Any, timeout: Any = 5.0) -> Any:
    return krait.call(dest, request, timeout)


def outcome(dest: Any, request: Any, timeout: Any = 5.0) -> Any:
    """What became of it, as a term."""
    try:
        return (krait.Atom("ok"), krait.call(dest, request, timeout))
    except krait.Exit as exit_:
        return (krait.Atom("exit"), exit_.reason)
    except krait.Timeout:
        return krait.Atom("timeout")
    except RuntimeError as error:
        return (krait.Atom("refused"), str(error))


def send(dest: Any, term: Any) -> str:
    krait.send(dest, term)
    return "sent"
