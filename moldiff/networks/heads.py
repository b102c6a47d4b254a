"""One head a field: logits of symbols from atoms and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from moldiff.config import NetworkConfig
from moldiff.networks.layers import linear
from moldiff.networks.property import PropertyHead
from moldiff.state import Alphabet


@final
class SymbolHeads(nn.Module):
    """Logits of elements and charges (B, N, K) from atoms, of bonds (B, N, N, K) from symmetrised pairs."""

    def __init__(self, config: NetworkConfig, alphabets: Mapping[str, Alphabet]) -> None:
        super().__init__()
        self.sizes = [len(alphabets["elements"]), len(alphabets["charges"])]
        self.atom_norm, self.pair_norm = nn.LayerNorm(config.scalars), nn.LayerNorm(config.pairs)
        self.atoms = linear(config.scalars, sum(self.sizes), zero=True)
        self.pairs = nn.Sequential(
            linear(config.pairs, config.pairs), nn.SiLU(), linear(config.pairs, len(alphabets["bonds"]), zero=True)
        )

    def forward(self, h: Tensor, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of elements, charges and bonds."""
        elements, charges = self.atoms(self.atom_norm(h)).split(self.sizes, -1)
        bonds = self.pairs(self.pair_norm(e + e.transpose(1, 2)))
        # float16/bfloat16 matrix products may round (i, j) and (j, i) differently: average once more
        return elements, charges, 0.5 * (bonds + bonds.transpose(1, 2))


@final
class CrystalHeads(nn.Module):
    """Logits of elements (B, N, K) from atoms, and six numbers (B, 6) for the cell from all atoms."""

    def __init__(self, config: NetworkConfig, alphabets: Mapping[str, Alphabet]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.scalars)
        self.elements = linear(config.scalars, len(alphabets["elements"]), zero=True)
        self.cell = PropertyHead(config, 6)

    def forward(self, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of elements, and the raw output for the invariants of the cell."""
        return self.elements(self.norm(h)), self.cell(h, mask)
