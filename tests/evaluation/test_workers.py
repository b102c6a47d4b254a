"""Workers: order, errors, crashes and time-outs cost one item each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from moldiff.evaluation.worker import attempt, resolve
from moldiff.evaluation.workers import Workers

FAULTS = """
import os, signal, time

def work(item, plus=0):
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(3)
    if item == "hang":
        time.sleep(600)
    if item == "raise":
        raise KeyError("no such thing")
    return item + plus
"""


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "faults_of_test.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return "faults_of_test:work"


def test_every_fault_costs_its_own_item_only(faults: str) -> None:
    items: list[object] = list(range(60))
    for place, fault in {3: "crash", 4: "exit", 20: "raise", 31: "hang", 59: "crash"}.items():
        items[place] = fault
    start = time.monotonic()
    with Workers(2, time_limit=2.0) as workers:
        done = workers.run(faults, items, label="faults", options={"plus": 100})
        pids = [worker.process for worker in workers._workers]
    assert time.monotonic() - start < 120
    assert [outcome.status for outcome in done] == [
        {"crash": "crash", "exit": "crash", "raise": "error", "hang": "timeout"}.get(str(item), "ok") for item in items
    ]
    assert [outcome.result for item, outcome in zip(items, done, strict=True) if isinstance(item, int)] == [
        item + 100 for item in items if isinstance(item, int)
    ]
    assert done[20].result == "KeyError: 'no such thing'"
    assert "ended with code" in done[3].result and "2 s" in done[31].result
    assert all(process.poll() is not None for process in pids), "workers outlive the block"


def test_a_function_that_cannot_be_imported_ends_it(faults: str) -> None:
    with Workers(1) as workers, pytest.raises(RuntimeError, match=r"die before they begin: .*no_such_module"):
        workers.run("no_such_module:work", [1, 2, 3], label="nothing")


def test_no_items_start_no_worker(faults: str) -> None:
    with Workers(2) as workers:
        assert workers.run(faults, [], label="nothing") == []
        assert workers._workers == []


def test_inside_this_process(faults: str) -> None:
    with Workers(0) as workers:
        done = workers.run(faults, [1, "raise", 2], label="here")
    assert [outcome.status for outcome in done] == ["ok", "error", "ok"]


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="jobs = -1"):
        Workers(-1)
    with pytest.raises(ValueError, match="time_limit = 0"):
        Workers(1, time_limit=0)
    with pytest.raises(ValueError, match="no function"):
        resolve("moldiff")


def test_out_of_memory_is_a_reason() -> None:
    def hungry(item: int) -> None:
        raise MemoryError

    assert attempt(hungry, 1, {}) == ("memory", "out of memory")
