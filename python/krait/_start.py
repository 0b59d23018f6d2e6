"""What the node runs: PYTHON .../krait/_start.py, with the control socket as descriptor 3.

Python put this file's folder in front of sys.path, where krait's modules would pass for top-level
ones. It goes; Krait itself is found through its parent folder, which then stays behind all others, so
that a site-packages it may be shadows nothing of the standard library. In its place comes the current
directory, for the user's modules.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Puts sys.path in order and enters the package."""
    parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):  # not so with python -P
        del sys.path[0]
    known = parent in sys.path
    sys.path.insert(0, parent)
    from krait import _forkserver

    del sys.path[0]
    try:
        sys.path.insert(0, os.getcwd())
    except OSError:  # the directory is gone
        pass
    if not known:
        sys.path.append(parent)
    _forkserver.main(sys.argv[1:])


if __name__ == "__main__":  # multiprocessing imports the main module again in its children
    main()
