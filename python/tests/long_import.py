"""A module whose import raises at length."""

raise RuntimeError("x" * 100_000 + " the end")
