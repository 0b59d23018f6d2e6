"""From the names in a request to something callable.

A module is an exposed name or is imported; a function is a path of attributes below it. Names that
begin with an underscore never lead anywhere. A list of allowed patterns, if there is one, names what
does; the node applies the same rule first (request.c), so `allowed` is the text of both.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from types import ModuleType
from typing import Any, Callable

CACHED = 4096  # functions remembered; more only if callers invent names that resolve


class NoFunction(Exception):
    """There is no such module, or no such callable in it."""


class NotAllowed(Exception):
    """An underscored name, or one that no pattern allows."""


def allowed(patterns: Sequence[str], module: str, function: str) -> bool:
    """Whether one of the patterns names the module, or the function as "module.function". `*` stands
    for any characters, dots included. Without patterns everything is allowed."""
    if not patterns:
        return True
    full = f"{module}.{function}"
    return any(_matches(p, module) or _matches(p, full) for p in patterns)


def _matches(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def expose(entries: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """The objects behind `--expose NAME=MODULE:ATTR`: a class is instantiated, any other object taken
    as it is. What the import or the class raises goes through."""
    exposed: dict[str, Any] = {}
    for name, module, attr in entries:
        target = attrgetter(attr)(importlib.import_module(module))
        exposed[name] = target() if isinstance(target, type) else target
    return exposed


class Resolver:
    """Finds functions. Modules and paths are remembered, the functions themselves are not: code that
    replaces an attribute of its module is heard at the next call."""

    def __init__(self, exposed: dict[str, Any] | None = None, allow: Sequence[str] = ()) -> None:
        self._exposed = exposed or {}
        self._allow = tuple(allow)
        self._known: dict[tuple[str, str], tuple[Any, Callable[[Any], Any]]] = {}

    def resolve(self, module: str, function: str) -> Callable[..., Any]:
        """The callable; raises NoFunction, NotAllowed, or what the import of the module raised."""
        try:
            root, get = self._known[module, function]
            found = get(root)
        except (KeyError, AttributeError):
            found = self._find(module, function)
        if not callable(found):
            raise NoFunction
        return found

    def _find(self, module: str, function: str) -> Any:
        path = function.split(".")
        segments = module.split(".") + path
        if any(segment.startswith("_") for segment in segments):
            raise NotAllowed
        if not all(segments) or "/" in module or "\0" in module:
            raise NoFunction
        root = self._root(module, function)
        found = self._walk(root, path)
        # With patterns, what a longer path passes through is looked at each time.
        if callable(found) and (len(path) == 1 or not self._allow):
            if len(self._known) >= CACHED:
                self._known.clear()
            self._known[module, function] = (root, attrgetter(function))
        return found

    def _root(self, module: str, function: str) -> Any:
        if module in self._exposed:
            return self._exposed[module]
        if not allowed(self._allow, module, function):
            raise NotAllowed
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = error.name
            if missing and (missing == module or module.startswith(missing + ".")):
                raise NoFunction from None
            raise

    def _walk(self, root: Any, path: list[str]) -> Any:
        """Down the attributes. A module on the way (my_app.models, "os.system") must be allowed as if
        the caller had named it."""
        found = root
        for i, segment in enumerate(path):
            if i > 0 and isinstance(found, ModuleType) and self._allow:
                if not allowed(self._allow, found.__name__, ".".join(path[i:])):
                    raise NotAllowed
            try:
                found = getattr(found, segment)
            except AttributeError:
                raise NoFunction from None
        return found
