"""What the node tells a pool's Python processes: the map of the "setup" packet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from krait._codec import DEFAULT_MAX_DEPTH, DEFAULT_MAX_RESULT_BYTES

METHODS = ("fork", "spawn")


@dataclass(frozen=True)
class Settings:
    """The settings of a pool, as forkserver.h lists them."""

    node: str = ""
    node_pid: Optional[int] = None  # the fork server's parent, if it is to be checked
    pool: str = "default"
    method: str = "fork"
    preload: tuple[str, ...] = ()
    expose: tuple[tuple[str, str, str], ...] = ()
    allow: tuple[str, ...] = ()
    max_depth: int = DEFAULT_MAX_DEPTH
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES
    path: tuple[str, ...] = ()
    slots: int = 1  # calls at a time
    indexed_env: tuple[str, ...] = ()  # NAME=VALUE with {index}; others are in the environment already
    cwd: str = ""  # "": the node's
    nice: int = 0
    oom_score_adj: int = 0
    limits: dict[str, int] = field(default_factory=dict)  # resource limits, by name

    @staticmethod
    def from_map(setup: Any) -> Settings:
        """Checks types; raises ValueError that names the key. Keys that are not known are a newer
        node's and are ignored."""
        if not isinstance(setup, dict):
            raise ValueError(f"setup: a map is needed, got {type(setup).__name__}")
        defaults = Settings()
        method = _get(setup, "method", str, defaults.method)
        if method not in METHODS:
            raise ValueError(f"setup: method is one of {', '.join(METHODS)}, got {method!r}")
        expose = _get(setup, "expose", list, [])
        for entry in expose:
            if not isinstance(entry, list) or len(entry) != 3:
                raise ValueError(f"setup: expose holds [name, module, attr], got {entry!r}")
        slots = _get(setup, "slots", int, defaults.slots)
        if slots < 1:
            raise ValueError(f"setup: slots is at least 1, got {slots}")
        return Settings(
            node=_get(setup, "node", str, defaults.node),
            node_pid=_get(setup, "node_pid", int, None),
            pool=_get(setup, "pool", str, defaults.pool),
            method=method,
            preload=_strings(setup, "preload"),
            expose=tuple((str(name), str(module), str(attr)) for name, module, attr in expose),
            allow=_strings(setup, "allow"),
            max_depth=_get(setup, "max_depth", int, defaults.max_depth),
            max_result_bytes=_get(setup, "max_result_bytes", int, defaults.max_result_bytes),
            path=_strings(setup, "path"),
            slots=slots,
            indexed_env=_strings(setup, "indexed_env"),
            cwd=_get(setup, "cwd", str, defaults.cwd),
            nice=_get(setup, "nice", int, defaults.nice),
            oom_score_adj=_get(setup, "oom_score_adj", int, defaults.oom_score_adj),
            limits=_numbers(setup, "limits"),
        )


def _get(setup: dict[str, Any], key: str, type_: type, default: Any) -> Any:
    value = setup.get(key)
    if value is None:
        return default
    if not isinstance(value, type_) or isinstance(value, bool):
        raise ValueError(f"setup: {key} is a {type_.__name__}, got {value!r}")
    return value


def _strings(setup: dict[str, Any], key: str) -> tuple[str, ...]:
    values = _get(setup, key, list, [])
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"setup: {key} holds strings, got {values!r}")
    return tuple(values)


def _numbers(setup: dict[str, Any], key: str) -> dict[str, int]:
    values: dict[str, int] = _get(setup, key, dict, {})
    if not all(isinstance(name, str) and type(value) is int for name, value in values.items()):
        raise ValueError(f"setup: {key} maps strings to ints, got {values!r}")
    return values
