"""Data-parallel training under torchrun: the ranks average their gradients, and nothing else is shared."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist


class Ranks:
    """The processes of a run: one, or those that torchrun started (gloo on CPU, nccl on GPU).

    Attributes:
        rank, count: this process and how many there are.
        local: index of this process on its machine, which chooses its GPU.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.local = int(os.environ.get("LOCAL_RANK", "0"))
        self._started = False

    def start(self, device: torch.device) -> None:
        """Join the other processes."""
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            self._started = True

    def stop(self) -> None:
        """Leave the other processes."""
        if self._started:
            dist.destroy_process_group()

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the ranks, in one message."""
        if self.count == 1:
            return
        chosen = list(parameters)
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in chosen]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        flat /= self.count
        for parameter, part in zip(chosen, flat.split([p.numel() for p in chosen]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def broadcast(self, value: float) -> float:
        """Rank 0's number, for decisions that depend on the time."""
        if self.count == 1:
            return value
        device = torch.device("cuda", self.local) if dist.get_backend() == "nccl" else torch.device("cpu")
        tensor = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(tensor, 0)
        return float(tensor)
