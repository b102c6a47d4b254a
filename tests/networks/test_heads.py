from __future__ import annotations

import torch

from moldiff.config import NetworkConfig
from moldiff.networks.heads import SymbolHeads
from moldiff.networks.property import PropertyHead
from moldiff.state import Alphabet


def test_bond_logits_are_symmetric_whatever_the_pairs(tiny: NetworkConfig, alphabets: dict[str, Alphabet]) -> None:
    generator = torch.Generator().manual_seed(0)
    heads = SymbolHeads(tiny, alphabets)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    h, e = (torch.randn(shape, generator=generator) for shape in ((2, 5, 32), (2, 5, 5, 16)))
    elements, charges, bonds = heads(h, e)
    assert elements.shape == (2, 5, 4) and charges.shape == (2, 5, 3) and bonds.shape == (2, 5, 5, 5)
    assert torch.equal(bonds, bonds.transpose(1, 2)) and bonds.std() > 0.1


def test_property_head_ignores_padding(tiny: NetworkConfig) -> None:
    generator = torch.Generator().manual_seed(0)
    head = PropertyHead(tiny, 3)
    assert (head(torch.randn((2, 4, 32), generator=generator), torch.ones(2, 4).bool()) == 0).all()
    torch.nn.init.normal_(head.out.weight, generator=generator)
    h, mask = torch.randn((2, 4, 32), generator=generator), torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).bool()
    changed = torch.where(mask[..., None], h, 100.0)
    assert head(h, mask).shape == (2, 3)
    assert torch.allclose(head(h, mask), head(changed, mask))
