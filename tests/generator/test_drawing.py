"""Batches of near sizes."""

from __future__ import annotations

import itertools

import pytest
import torch

from moldiff.generator.drawing import OVERHEAD, near_sizes, split_sizes


def cost(parts: list[list[int]], most: int) -> int:
    return sum(len(part) * max(part) ** 2 + OVERHEAD * most for part in parts)


def cheapest(sizes: list[int], most: int) -> int:
    """By trying every way to cut the sorted sizes."""
    sizes, n = sorted(sizes), len(sizes)
    found = []
    for cuts in itertools.product([False, True], repeat=n - 1):
        places = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), n]
        parts = [sizes[a:b] for a, b in itertools.pairwise(places)]
        if max(map(len, parts)) <= most:
            found.append(cost(parts, most))
    return min(found)


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9, 64])
def test_batches_have_the_fewest_padded_pairs(most: int) -> None:
    generator = torch.Generator().manual_seed(most)
    for _ in range(5):
        sizes = torch.randint(3, 30, (9,), generator=generator)
        parts = near_sizes(sizes, most)
        assert sorted(torch.cat(parts).tolist()) == list(range(9))
        assert max(map(len, parts)) <= most
        assert cost([sizes[part].tolist() for part in parts], most) == cheapest(sizes.tolist(), most)


def test_equal_sizes_fill_their_batches() -> None:
    parts = near_sizes(torch.full((130,), 18), 64)
    assert sorted(map(len, parts)) == [2, 64, 64]
    assert near_sizes(torch.zeros(0, dtype=torch.long), 64) == []


def test_the_first_batch_is_small_and_the_others_come_in_any_order() -> None:
    sizes = torch.randint(3, 30, (500,), generator=torch.Generator().manual_seed(0))
    parts = split_sizes(sizes, 64, seed=0)
    assert len(parts[0]) <= 16
    assert sorted(torch.cat(parts).tolist()) == list(range(500))
    largest = [int(sizes[part].max()) for part in parts[1:]]
    assert largest != sorted(largest)
