"""The version of Krait; the same text as the file VERSION at the root of the repository."""

from __future__ import annotations

__version__ = "0.1.0"
