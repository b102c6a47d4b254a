"""GNU OpenMP, told to wait briefly: else threads that share a batch are up to 65 times slower on a busy machine."""

from __future__ import annotations

import os
import sys

#: Turns of the loop in which a thread waits for the others before it sleeps, some microseconds. The default is
#: milliseconds: where another process holds one of the cores, threads then burn the rest of them waiting for its turn.
SPINS = 1000


def wait_briefly() -> bool:
    """Let threads that wait for others sleep soon; called when the package is imported, since torch looks only once.

    For torch's builds with GNU OpenMP (Linux). A value of GOMP_SPINCOUNT or OMP_WAIT_POLICY that is set already counts.

    Returns:
        Whether this call has set it: not after torch was imported, which is too late.
    """
    if "torch" in sys.modules or {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        return False
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    return True
