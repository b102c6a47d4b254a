from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from moldiff import allocator

REPOSITORY = Path(__file__).resolve().parents[1]
GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_done", False)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLDIFF_ALLOCATOR", "0")
    assert allocator.keep_large_blocks() is False


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOLDIFF_ALLOCATOR", raising=False)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert allocator.keep_large_blocks() is False


@pytest.mark.skipif(not GLIBC, reason="mallopt is glibc's")
def test_it_is_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOLDIFF_ALLOCATOR", raising=False)
    assert allocator.keep_large_blocks() is True
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("set twice"))
    assert allocator.keep_large_blocks() is True


CODE = """
import ctypes
import numpy
from moldiff.allocator import keep_large_blocks

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info
if {on}:
    keep_large_blocks()
before = mallinfo().hblkhd
block = numpy.ones(8_000_000)
print((mallinfo().hblkhd - before) // 1_000_000)
"""


@pytest.mark.skipif(not GLIBC or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc 2.33 or later")
def test_large_blocks_come_from_the_heap_afterwards() -> None:
    """Megabytes that a block of 64 MB takes by mmap, and so gives back to the system at once when it is freed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "MOLDIFF_"))}
    mapped = {}
    for on in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(on=on)], cwd=REPOSITORY, env=environment, capture_output=True, check=True
        )
        mapped[on] = int(done.stdout)
    assert mapped == {False: 64, True: 0}
