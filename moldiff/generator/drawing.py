"""What drawing molecules and drawing crystals share: batches of near sizes, and going on until enough are made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from moldiff.generator.ranks import Batches, Ranks
from moldiff.state import State

#: With ``fill`` at most this many times the number asked for are drawn.
FILL_LIMIT = 20
#: Largest size of the first batch of a sample of more than `FEW` batches.
FIRST_BATCH, FEW = 16, 4
#: What a batch costs beside its pairs of atoms, in pairs for each structure that fits in: on two cores, where 64 fit,
#: about 10 ms of an evaluation, in which 4,000 pairs are done.
OVERHEAD = 60

Item = TypeVar("Item")


def check_counts(n: int, batch_size: int | None, device: torch.device, *, noun: str) -> int:
    """The size of a batch, after checking the numbers.

    Raises:
        ValueError: for a number or a batch size below 1.
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"the number of {noun} must be a whole number of at least 1, not {n!r}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    return batch_size or (64 if device.type == "cpu" else 1024)


def near_sizes(sizes: Tensor, batch_size: int) -> list[Tensor]:
    """Numbers of the structures of each batch, by their atom counts (n,), smallest first.

    Structures of near sizes share a batch, since padding costs with the square of the size. Among all ways to cut the
    sorted sizes into batches of at most `batch_size`, the one with the fewest padded pairs, each batch counted as
    `OVERHEAD` more.
    """
    most = max(1, batch_size)
    order = sizes.argsort(stable=True)
    pairs = sizes[order].double().square().numpy()
    n = len(pairs)
    best, first = np.zeros(n + 1), np.zeros(n + 1, dtype=int)
    for end in range(1, n + 1):
        starts = np.arange(max(0, end - most), end)
        costs = best[starts] + (end - starts) * pairs[end - 1] + OVERHEAD * most
        first[end] = starts[costs.argmin()]
        best[end] = costs.min()
    parts, end = [], n
    while end:
        parts.append(order[first[end] : end])
        end = int(first[end])
    return parts[::-1]


def split_sizes(sizes: Tensor, batch_size: int, *, seed: int) -> list[Tensor]:
    """Numbers of the structures of each batch, by their atom counts (n,), as `near_sizes` has it.

    The batches come in random order, so that the first ones are no biased sample; but a few begin with the dearest, so
    that those who share them end together.
    """
    parts = near_sizes(sizes, batch_size)
    if len(parts) <= FEW:
        return sorted(parts, key=lambda part: -len(part) * int(sizes[part].max()) ** 2)
    order = torch.randperm(len(parts), generator=torch.Generator().manual_seed(seed)).tolist()
    ordered = [parts[i] for i in order]
    # a small first batch shows something early
    ordered[:1] = [part for part in (ordered[0][:FIRST_BATCH], ordered[0][FIRST_BATCH:]) if len(part)]
    return ordered


def in_order(batches: Iterable[tuple[Tensor, State]]) -> State:
    """All structures of finished batches by their numbers, as one padded State on the CPU."""
    pairs = [(rows, state.to("cpu")) for rows, state in batches]
    order = torch.cat([rows for rows, _ in pairs]).argsort()
    return State.concatenate([state for _, state in pairs]).index(order)


def draw_until(
    n: int,
    *,
    fill: bool,
    batches: Callable[[int, int], Batches],
    judge: Callable[[Batches, int], Iterator[Item]],
    good: Callable[[Item], bool],
    ranks: Ranks,
    bar: tqdm[Any],
) -> Iterator[Item]:
    """Judged structures as their batches finish: n of them, or with `fill` as many as make n good ones.

    Args:
        n: structures asked for.
        fill: go on in further rounds; gives up with a warning after `FILL_LIMIT` times n.
        batches: of the number of structures and the round, the batches of a round.
        judge: of those batches and the number of the first structure, the judged structures.
        good: whether a structure counts.
        ranks: the processes; all of them agree when it is enough.
        bar: the progress bar; its total follows the rounds. It is closed here.
    """
    made, drawn, round_ = 0, 0, 0
    with bar:
        while True:
            want = n if round_ == 0 else max(8, min(n, round(1.2 * (n - made) * drawn / max(made, 1))))
            finished = batches(want, round_)
            for item in judge(finished, drawn):
                made += good(item)
                yield item
                if fill and made >= n:
                    break
            finished.close()
            made = ranks.agree(made)
            drawn, round_ = drawn + want, round_ + 1
            if not fill or made >= n:
                return
            if drawn >= FILL_LIMIT * n:
                warnings.warn(f"only {made} of {n} valid after drawing {drawn}: giving up", stacklevel=2)
                return
            bar.total = drawn + n - made
