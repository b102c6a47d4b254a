"""The noise-aware property head: properties of the clean structure from the trunk's features of a noisy one."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from moldiff.config import NetworkConfig
from moldiff.networks.layers import linear


@final
class PropertyHead(nn.Module):
    """Standardised properties (B, P) from a gated mean and a scaled sum over atoms."""

    def __init__(self, config: NetworkConfig, properties: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.scalars)
        self.atom = nn.Sequential(linear(config.scalars, config.scalars), nn.SiLU())
        self.out = linear(2 * config.scalars, properties, zero=True)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """Properties from atom scalars (B, N, C) and the mask (B, N)."""
        atoms = self.atom(self.norm(h)) * mask.unsqueeze(-1)
        count = mask.sum(1, keepdim=True).clamp_min(1)
        result: Tensor = self.out(torch.cat([atoms.sum(1) / count, atoms.sum(1) / 18.0], -1))
        return result
