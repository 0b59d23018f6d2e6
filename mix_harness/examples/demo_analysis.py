"""What the demo has Python do: read source files of the standard library and measure them.

Plain Python that knows nothing of Krait. Elixir calls these functions by name:

    Krait.call(pool, "demo_analysis", "shape", ["/usr/lib/python3.11/ast.py"])
"""

from __future__ import annotations

import ast
import os
import sysconfig
from collections.abc import Iterator
from typing import Any

# A function has one way through it, and one more for each of these.
_FORKS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def sources() -> list[str]:
    """Every source file of the standard library of this Python, without installed packages."""
    found = []
    for folder, folders, files in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = [
            name for name in folders if name not in ("__pycache__", "site-packages", "dist-packages")
        ]
        found += [os.path.join(folder, name) for name in files if name.endswith(".py")]
    return sorted(found)


def shape(path: str) -> dict[str, Any]:
    """Counts of one file: its size, its functions, the longest one, the most branching one."""
    source, tree = _parse(path)
    result: dict[str, Any] = {
        "path": path,
        "lines": source.count(b"\n"),
        "bytes": len(source),
        "functions": 0,
        "classes": 0,
        "branches": 0,
        "longest": None,
        "hardest": None,
    }
    if tree is None:
        return result
    longest, hardest = (0, ""), (0, "")
    for name, node in _definitions(tree):
        if isinstance(node, ast.ClassDef):
            result["classes"] += 1
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        branches = 1 + sum(_forks(part) for part in _own_nodes(node))
        result["functions"] += 1
        result["branches"] += branches
        longest = max(longest, (lines, name))
        hardest = max(hardest, (branches, name))
    if result["functions"]:
        result["longest"] = {"name": longest[1], "lines": longest[0]}
        result["hardest"] = {"name": hardest[1], "branches": hardest[0]}
    return result


def imports(path: str) -> dict[str, Any]:
    """The modules that one file imports, by their full names."""
    _, tree = _parse(path)
    here = module_name(path)
    package = here if path.endswith("__init__.py") else here.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(parts) if node.level else ""
            name = ".".join(part for part in (base, node.module) if part)
            # `from package import module` imports the module, not only the package
            found.update([name], (f"{name}.{alias.name}" for alias in node.names))
    return {"path": path, "module": here, "imports": sorted(found - {here, ""})}


def module_name(path: str) -> str:
    """`xml.dom` for `/usr/lib/python3.11/xml/dom/__init__.py`."""
    name = os.path.relpath(path, sysconfig.get_path("stdlib"))[: -len(".py")]
    return name.removesuffix("/__init__").replace("/", ".")


def _parse(path: str) -> tuple[bytes, ast.Module | None]:
    """The file's bytes and its tree; no tree for a file that is broken on purpose (tests have some)."""
    with open(path, "rb") as file:
        source = file.read()
    try:
        return source, ast.parse(source, path)
    except (SyntaxError, ValueError):
        return source, None


def _definitions(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """Every class and function, however deep, with its full name: `Class.method`."""
    todo: list[tuple[str, ast.AST]] = [("", tree)]
    while todo:
        prefix, node = todo.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
                yield prefix + child.name, child
                todo.append((f"{prefix}{child.name}.", child))
            else:
                todo.append((prefix, child))


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, those of functions inside it excluded: they are counted themselves."""
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if not isinstance(node, _FUNCTIONS):
            yield node
            todo.extend(ast.iter_child_nodes(node))


def _forks(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return int(isinstance(node, _FORKS) or type(node).__name__ == "match_case")
