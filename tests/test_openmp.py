"""How long threads wait for one another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moldiff import openmp

REPOSITORY = Path(__file__).resolve().parents[1]
NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def setting(code: str, **variables: str) -> str:
    """GOMP_SPINCOUNT after some code in a new process."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [sys.executable, "-c", f"{code}; import os; print(os.environ.get('GOMP_SPINCOUNT'))"],
        cwd=REPOSITORY,
        env=environment | variables,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()


def test_the_package_sets_it() -> None:
    assert setting("import moldiff") == str(openmp.SPINS)


@pytest.mark.parametrize(("variables", "expected"), [({NAMES[0]: "7"}, "7"), ({NAMES[1]: "ACTIVE"}, "None")])
def test_what_is_set_already_counts(variables: dict[str, str], expected: str) -> None:
    assert setting("import moldiff", **variables) == expected


def test_after_torch_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert not openmp.wait_briefly()
    assert NAMES[0] not in os.environ
