"""Exit statuses of Krait's Python processes.

They are part of the protocol: the node logs them by name and counts them as causes of failed starts.
A status that is not listed here was chosen by the user's own code (`os._exit`, a crash).
"""

from __future__ import annotations

EXIT_OK = 0  # told to stop: end of file on the channel or on the control socket
EXIT_USAGE = 64  # _start.py was run by somebody who is not the node
EXIT_CHANNEL_LOST = 70  # the worker's channel broke: reset, closed by user code, cut in a frame
EXIT_INTERNAL = 71  # a mistake of Krait's own, or a signal handler that raised between calls
EXIT_PRELOAD_FAILED = 74  # fork server: a preloaded module raised ("failed" told why)
EXIT_START_FAILED = 75  # worker: an import or an exposed class raised before HELLO; see its stderr
EXIT_BAD_FRAME = 76  # bytes that are no frame: node and package are of different versions
EXIT_ORPHANED = 77  # the parent was gone before PR_SET_PDEATHSIG could guard against that
EXIT_UNKNOWN = 255  # fork server: somebody else waited for the worker, its status is lost
