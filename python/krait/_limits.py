"""What a worker may have of the machine, and the environment that it finds.

Taken on by the worker's process itself, before it runs anything else (with the method "spawn": before it
becomes a fresh interpreter), in this order: its cgroup, so that all its memory counts there; how soon the
kernel kills it; resource limits, niceness, environment. What the kernel refuses is a start that fails, and the
line on stderr says what and why: a worker without the limit that was asked for would be worse than none.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from krait._settings import Settings

INDEX = "{index}"
RESOURCES = {
    "as": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "nofile": resource.RLIMIT_NOFILE,
    "core": resource.RLIMIT_CORE,
}
CPU_LAST_SECONDS = 1  # between SIGXCPU, which may be caught, and SIGKILL


class Refused(Exception):
    """The kernel said no; one line that says to what."""


def take_on(settings: Settings, index: int, cgroup: str) -> None:
    """`cgroup` is the directory of this worker's own one; "": it has none. Raises Refused."""
    if cgroup:
        _try(f"cgroup {cgroup}", _write, os.path.join(cgroup, "cgroup.procs"), "0")
    if settings.oom_score_adj:
        score = settings.oom_score_adj
        _try(f"oom_score_adj {score}", _write, "/proc/self/oom_score_adj", str(score))
    for name, limit in settings.limits.items():
        if name in RESOURCES:
            _try(f"rlimit_{name} {limit}", _limit, RESOURCES[name], limit)
    if settings.nice:
        _try(f"nice {settings.nice}", os.nice, settings.nice)
    for entry in settings.indexed_env:
        name, _, value = entry.partition("=")
        os.environ[name] = value.replace(INDEX, str(index))


def change_directory(path: str) -> None:
    """For the fork server, whose workers follow. Raises Refused."""
    _try(f"cwd {path}", os.chdir, path)


def _limit(which: int, limit: int) -> None:
    """Both limits, so that the worker cannot lift it again."""
    hard = limit
    if which == resource.RLIMIT_CPU:
        hard += CPU_LAST_SECONDS
        most = resource.getrlimit(which)[1]
        if most != resource.RLIM_INFINITY and most < hard:
            hard = most
    resource.setrlimit(which, (limit, hard))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _try(what: str, do: Callable[..., object], *args: Any) -> None:
    try:
        do(*args)
    except (OSError, ValueError, OverflowError) as error:
        raise Refused(f"{what}: {getattr(error, 'strerror', None) or error}") from None
