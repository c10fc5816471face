"""Becomes another program that ends when its parent does; run by path, it needs nothing of ours.

The kernel sends SIGTERM to a child whose parent died, however it died (prctl(2),
PR_SET_PDEATHSIG). Asking for it between fork and exec in the parent would run Python in a copied,
possibly locked, interpreter; so the child asks itself and then becomes the program. Where the
kernel knows no such thing, the next start finds the survivors by their pid files.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the program of ``argv[2:]``, unless the parent ``argv[1]`` is gone already."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == parent:
        os.execvp(command[0], command)  # noqa: S606 - the supervisor's own command, no shell


if __name__ == "__main__":
    main()
