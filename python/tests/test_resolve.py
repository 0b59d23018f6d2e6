"""From names to functions."""

from __future__ import annotations

import math
import os.path
import sys
import types

import krait_faults
import pytest

from krait._resolve import NoFunction, NotAllowed, Resolver, allowed, expose

ALLOWED = [  # (patterns, module, function, answer): the C side has the same table
    ([], "os", "system", True),
    (["math"], "math", "sqrt", True),
    (["math"], "math2", "sqrt", False),
    (["math"], "mat", "h", False),
    (["math"], "math.sub", "sqrt", False),
    (["math.sqrt"], "math", "sqrt", True),
    (["math.sqrt"], "math", "cos", False),
    (["my_app.*"], "my_app.models", "run", True),
    (["my_app.*"], "my_app", "run", True),
    (["my_app.*"], "my_app.a.b.c", "K.fit", True),
    (["my_app.*"], "my_apps", "run", False),
    (["my_app"], "my_app", "K.fit", True),
    (["my_app.K.*"], "my_app", "K.fit", True),
    (["my_app.K.*"], "my_app", "L.fit", False),
    (["*.public_*"], "a.b", "public_x", True),
    (["*.public_*"], "a.b", "private_x", False),
    (["*"], "anything", "at.all", True),
    (["a*c"], "abc", "f", True),
    (["a*c"], "ab", "c", True),
    (["a*c"], "ab", "d", False),
    (["a.c"], "abc", "f", False),
    (["", "x"], "y", "f", False),
    (["math", "os.path"], "os.path", "join", True),
    (["m\n*"], "m\nx", "f", True),
]


@pytest.mark.parametrize("patterns, module, function, answer", ALLOWED)
def test_patterns(patterns, module, function, answer):
    assert allowed(patterns, module, function) is answer


def test_functions_of_modules_and_methods_of_their_objects():
    resolve = Resolver().resolve
    assert resolve("math", "sqrt") is math.sqrt
    assert resolve("os.path", "join") is os.path.join
    assert resolve("krait_faults", "counter.incr") == krait_faults.counter.incr
    assert resolve("krait_faults", "Counter") is krait_faults.Counter
    assert resolve("math", "sqrt") is math.sqrt, "and from memory"


@pytest.mark.parametrize(
    "module, function",
    [
        ("krait_no_such_module", "f"),
        ("krait_no_such_module.sub", "f"),
        ("math.sub", "f"),
        ("os.no_such", "f"),
        ("math", "no_such"),
        ("math", "sqrt.no_such"),
        ("krait_faults", "value"),
        ("math", ""),
        ("", "f"),
        ("math", "sqrt."),
        (".math", "sqrt"),
        ("a..b", "f"),
        ("a/b", "f"),
        ("a\0b", "f"),
    ],
)
def test_what_is_not_there(module, function):
    with pytest.raises(NoFunction):
        Resolver().resolve(module, function)


@pytest.mark.parametrize(
    "module, function",
    [
        ("math", "_private"),
        ("math", "__loader__"),
        ("_thread", "start_new_thread"),
        ("concurrent.futures._base", "x"),
        ("math", "sqrt.__class__"),
        ("counter", "__class__"),
    ],
)
def test_underscored_names_lead_nowhere(module, function):
    exposed = {"counter": krait_faults.Counter()}
    with pytest.raises(NotAllowed):
        Resolver(exposed).resolve(module, function)
    with pytest.raises(NotAllowed):
        Resolver(exposed, ["*"]).resolve(module, function)


def test_only_what_a_pattern_names_is_imported():
    resolve = Resolver({}, ["math", "broken_import"]).resolve
    assert resolve("math", "sqrt") is math.sqrt
    sys.modules.pop("this", None)
    with pytest.raises(NotAllowed):
        resolve("this", "s")
    assert "this" not in sys.modules
    with pytest.raises(NotAllowed):
        resolve("krait_no_such_module", "f")


def test_a_module_within_a_module_is_not_a_way_around():
    app = types.ModuleType("krait_test_app")
    app.os, app.math, app.f = os, math, len
    app.inner = types.SimpleNamespace(os=os)
    sys.modules["krait_test_app"] = app
    try:
        resolve = Resolver({}, ["krait_test_app*", "math.sqrt"]).resolve
        assert resolve("krait_test_app", "f") is len
        for function in ("os.system", "os.path.join", "inner.os.system", "math.cos"):
            for _ in range(2):
                with pytest.raises(NotAllowed):
                    resolve("krait_test_app", function)
        assert resolve("krait_test_app", "math.sqrt") is math.sqrt, "it might as well be named"
        assert Resolver().resolve("krait_test_app", "os.path.join") is os.path.join
        app.inner.changing = types.SimpleNamespace(system=len)
        assert resolve("krait_test_app", "inner.changing.system") is len
        app.inner.changing = os
        with pytest.raises(NotAllowed):
            resolve("krait_test_app", "inner.changing.system")
        exposed = Resolver({"app": app.inner}, ["nothing"]).resolve
        with pytest.raises(NotAllowed):
            exposed("app", "os.system")
    finally:
        del sys.modules["krait_test_app"]


def test_an_import_that_raises_is_not_an_absence():
    resolve = Resolver().resolve
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken_import is broken"):
            resolve("broken_import", "f")
    with pytest.raises(ModuleNotFoundError, match="krait_test_module_that_is_missing"):
        resolve("missing_import", "never")


def test_an_attribute_that_is_replaced_is_heard_at_the_next_call():
    module = types.ModuleType("krait_test_rebound")
    sys.modules["krait_test_rebound"] = module
    try:
        resolve = Resolver().resolve
        module.f = len
        module.model = krait_faults.Counter()
        assert resolve("krait_test_rebound", "f") is len
        first = resolve("krait_test_rebound", "model.incr")
        module.f = max
        module.model = krait_faults.Counter()
        assert resolve("krait_test_rebound", "f") is max
        assert resolve("krait_test_rebound", "model.incr").__self__ is not first.__self__
        del module.f
        with pytest.raises(NoFunction):
            resolve("krait_test_rebound", "f")
        module.f = 3
        with pytest.raises(NoFunction):
            resolve("krait_test_rebound", "f")
    finally:
        del sys.modules["krait_test_rebound"]


def test_exposed_names_come_first_and_are_always_allowed():
    exposed = expose([("counter", "krait_faults", "Counter"), ("math", "krait_faults", "counter")])
    assert type(exposed["counter"]) is krait_faults.Counter
    assert exposed["math"] is krait_faults.counter
    resolve = Resolver(exposed, ["os.path"]).resolve
    incr = resolve("counter", "incr")
    assert incr() == 1 and resolve("counter", "incr")() == 2
    assert resolve("math", "incr").__self__ is krait_faults.counter
    with pytest.raises(NoFunction):
        resolve("counter", "no_such")


@pytest.mark.parametrize(
    "entry, error",
    [
        (("c", "krait_faults", "BrokenCounter"), RuntimeError),
        (("c", "krait_faults", "NoSuch"), AttributeError),
        (("c", "krait_no_such_module", "X"), ModuleNotFoundError),
    ],
)
def test_what_cannot_be_exposed_raises(entry, error):
    with pytest.raises(error):
        expose([entry])


def test_the_memory_of_names_is_bounded(monkeypatch):
    from krait import _resolve

    monkeypatch.setattr(_resolve, "CACHED", 3)
    resolver = Resolver()
    for name in ("sin", "cos", "tan", "sqrt", "exp"):
        assert resolver.resolve("math", name) is getattr(math, name)
        assert len(resolver._known) <= 3
