"""Batches drawn by several threads: the same ones in the same order, ended at once when nobody waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

import moldiff
from moldiff.generator import threads
from moldiff.generator.threads import each, go_on


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Four cores, as torch is told."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_that_share_the_cores(cores: int) -> None:
    barrier = threading.Barrier(2)

    def draw(place: int) -> tuple[int, int, int]:
        barrier.wait(10)  # two at once, or this ends the test
        return place, torch.get_num_threads(), threading.get_ident()

    found = list(each(draw, [3, 1]))
    assert [place for place, _, _ in found] == [3, 1]
    assert {count for _, count, _ in found} == {2}
    assert len({name for _, _, name in found}) == 2 and threading.get_ident() not in {name for _, _, name in found}
    assert torch.get_num_threads() == cores
    # a thread begun later is not left with the share of one of those
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [cores]


def test_one_batch_or_one_core_needs_no_thread(cores: int) -> None:
    def draw(place: int) -> tuple[int, int]:
        return threading.get_ident(), torch.get_num_threads()

    assert list(each(draw, [7])) == [(threading.get_ident(), 4)]
    torch.set_num_threads(1)
    assert set(each(draw, range(5))) == {(threading.get_ident(), 1)}


def test_a_slow_reader_holds_the_threads_up(cores: int) -> None:
    begun: list[int] = []
    results = each(begun.append, range(100))
    next(results)
    time.sleep(0.2)
    assert len(begun) <= 2 * cores + 1
    assert len(list(results)) == 99 and sorted(begun) == list(range(100))


def test_batches_that_nobody_waits_for_end_at_once(cores: int) -> None:
    ended = threading.Event()

    def draw(place: int) -> int:
        try:
            while place:
                go_on()
                time.sleep(0.001)
        except threads.Ended:
            ended.set()
            raise
        return place

    results = each(draw, range(50))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert ended.is_set()
    go_on()  # this thread waits for itself


def test_an_error_in_a_batch_ends_the_others_and_is_raised(cores: int) -> None:
    def draw(place: int) -> int:
        if place == 2:
            raise ValueError("no such place")
        while place > 2:
            go_on()
        return place

    results = each(draw, range(20))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="no such place"):
        next(results)


@pytest.mark.parametrize("name", ["qm9", "mp20"])
def test_the_cores_change_nothing_in_a_sample(name: str, cores: int) -> None:
    generator = moldiff.load(name, device="cpu", precision="fp32")
    wishes = {"seed": 5, "steps": 4, "batch_size": 3, "n_atoms": 6}
    many = generator.draw(14, **wishes)
    torch.set_num_threads(1)
    one = generator.draw(14, **wishes)
    for field in one.present:
        if one.field(field).dtype.is_floating_point:
            # sums over atoms may be taken in another order
            assert torch.allclose(many.field(field), one.field(field), atol=1e-3), field
        else:
            assert torch.equal(many.field(field), one.field(field)), field


def test_a_reward_is_asked_in_the_thread_of_the_caller(cores: int) -> None:
    asked: set[int] = set()

    def light(mols: list[object]) -> list[float]:
        asked.add(threading.get_ident())
        return [1.0] * len(mols)

    moldiff.load("qm9", device="cpu").sample(4, seed=0, steps=40, batch_size=4, reward=light, particles=2)
    assert asked == {threading.get_ident()}
