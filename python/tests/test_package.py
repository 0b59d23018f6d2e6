"""The package as a whole."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback

import krait
from krait import _exits

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_the_version_is_the_repositorys():
    path = os.path.join(ROOT, "VERSION")
    if os.path.exists(path):
        with open(path) as file:
            assert file.read().strip() == krait.__version__


def test_what_is_public_is_there():
    assert [name for name in krait.__all__ if not hasattr(krait, name)] == []
    x = object()
    assert krait.identity(x) is x


def test_public_classes_are_told_by_where_they_are_to_be_found():
    public = [getattr(krait, name) for name in krait.__all__]
    assert {thing.__module__ for thing in public if isinstance(thing, type)} == {"krait"}
    assert pickle.loads(pickle.dumps(krait.Atom("a"))) == "a" and "krait.Exit: 1" in str(
        traceback.format_exception_only(krait.Exit, krait.Exit(1))
    )


def test_exit_statuses_are_distinct():
    statuses = [value for name, value in vars(_exits).items() if name.startswith("EXIT_")]
    assert len(statuses) == len(set(statuses)) == 9


def test_importing_does_no_work():
    code = "import sys; import krait; print('ctypes' in sys.modules, 'logging' in sys.modules, 'socket' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=os.path.join(ROOT, "python"))
    assert done.stdout.split() == [b"False"] * 3
