"""Where the real data are, and which tests the machine cannot run (skipped, with the reason)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# the same examples in every run: what fails here fails everywhere, and nothing fails by chance
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

REPOSITORY = Path(__file__).resolve().parents[1]


def find_data_root() -> Path | None:
    """The folder of prepared archives: MOLDIFF_DATA, else `shared/data` beside the repository, else None."""
    named = os.environ.get("MOLDIFF_DATA")
    for folder in [Path(named)] if named else [REPOSITORY.parent / "shared" / "data"]:
        if (folder / "qm9" / "qm9.npz").is_file():
            return folder.resolve()
    return None


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lacking = {}
    marked = {name for item in items for name in ("data", "gpu") if item.get_closest_marker(name)}
    if "data" in marked and find_data_root() is None:
        lacking["data"] = "no prepared archives: set MOLDIFF_DATA to a folder that holds qm9/qm9.npz"
    if "gpu" in marked and not has_cuda():
        lacking["gpu"] = "no CUDA device"
    for item in items:
        for name, reason in lacking.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of prepared archives; the test is skipped where there is none."""
    root = find_data_root()
    if root is None:
        pytest.skip("no prepared archives: set MOLDIFF_DATA to a folder that holds qm9/qm9.npz")
    return root


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One torch thread for this test (sums in a fixed order), restored afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which jobs in the background have not, and that it is the same afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler


@pytest.fixture
def recorded_compiler(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the parts of networks that are compiled, which then run as they are."""
    from moldiff.networks import compilation

    names: list[str] = []

    def record(function: Any, **options: Any) -> Any:
        names.append(function.__qualname__)
        return function

    monkeypatch.setattr(compilation, "_compiled", record)
    return names


@pytest.fixture
def broken_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile fails as where there is no C++ compiler."""
    from moldiff.networks import compilation

    def broken(function: Any, **options: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(compilation, "_compiled", broken)
