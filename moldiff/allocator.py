"""glibc's allocator, told to keep large blocks: otherwise page faults on temporaries dominate the time on a CPU."""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_done = False


def keep_large_blocks() -> bool:
    """Stop glibc from handing every large temporary back to the system (mallopt); once a process, on glibc only.

    Called at the first sampling or training call. Set the environment variable ``MOLDIFF_ALLOCATOR=0`` to switch it
    off; the process then holds less memory and runs two to ten times slower on a CPU.

    Returns:
        Whether the setting is in force.
    """
    global _done
    if _done:
        return True
    if os.environ.get("MOLDIFF_ALLOCATOR") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    # blocks up to 1 GiB come from the heap, and the heap is given back only beyond 2 GiB of free space
    _done = bool(libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))
    return _done
