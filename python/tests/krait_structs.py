"""What the suites ask about structs and tensors."""

from __future__ import annotations

import datetime
import sys

import krait
from krait import _tensor

TYPES = {"set": set, "dict": dict}


def is_a(value, name):
    return isinstance(value, TYPES[name])


def encode_dates_as_text():
    krait.register_encoder(datetime.date, lambda value: value.isoformat())


def forget_numpy():
    """From now on this process cannot import it."""
    sys.modules["numpy"] = None
    _tensor._missing = False


def view(value):
    return type(value).__name__, value.format, list(value.shape), value.tolist()
