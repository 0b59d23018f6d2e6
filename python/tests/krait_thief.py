"""Preloaded, it waits for whatever child ends, as careless libraries do, and always comes first."""

import os

_waitid = os.waitid


def _robbed(idtype, id_, options):  # type: ignore[no-untyped-def]
    if _waitid(idtype, id_, options) is not None:
        os.waitpid(-1, 0)
    return _waitid(idtype, id_, options)


os.waitid = _robbed
