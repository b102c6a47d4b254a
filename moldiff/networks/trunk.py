"""The trunk: a dense E(3)-equivariant graph transformer with a persistent pair stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from moldiff.config import NetworkConfig
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.networks.conditioning import Conditioning
from moldiff.networks.heads import SymbolHeads
from moldiff.networks.layers import Atoms, Block, directions
from moldiff.networks.pairs import AtomFeatures, PairFeatures
from moldiff.networks.property import PropertyHead
from moldiff.state import Alphabet, State, centred


@final
class Trunk(nn.Module):
    """Raw network for molecules, see `moldiff.denoiser.Network`.

    Scalars of atoms and pairs are invariant, vectors and the displacement turn with the input; a common translation
    changes nothing, since only differences of positions enter. Every block looks at the current guess of the clean
    structure, ``skip * positions + out * u``; with self-conditioning u starts from the previous guess.

    Args:
        config: sizes.
        alphabets: field name -> alphabet, for elements, charges and bonds.
        properties: number of properties P that can be conditioned on; 0 for none.
    """

    def __init__(self, config: NetworkConfig, alphabets: Mapping[str, Alphabet], *, properties: int = 0) -> None:
        super().__init__()
        self.config = config
        self.conditioning = Conditioning(("positions", "elements", "charges", "bonds"), properties, config.condition)
        self.atoms = AtomFeatures(config, alphabets)
        self.pairs = PairFeatures(config, alphabets)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.heads = SymbolHeads(config, alphabets)
        self.property = PropertyHead(config, properties) if properties else None

    def forward(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        """Displacement (B, N, 3), logits of elements, charges and bonds, standardised properties (B, P)."""
        mask = state.mask
        given = clocks.is_given("positions", state)
        dtype = torch.promote_types(state.field("positions").dtype, torch.float32)
        x = centred(state.field("positions").to(dtype), mask, given)
        skip, out = preconditioning.skip.to(dtype), preconditioning.out.to(dtype) * mask.unsqueeze(-1)
        base = skip * x
        u = torch.zeros_like(x)
        guessed = None
        if previous is not None and previous.positions is not None:
            guess = centred(previous.positions.to(dtype), mask, given)
            u = torch.where(out > 0, (guess - base) / torch.where(out > 0, out, 1.0), 0.0)
            # a bound on the length, since one on the components would not turn with the structure
            u = u * (10 / u.norm(dim=-1, keepdim=True).clamp_min(10))
            guessed = directions(guess)[1]

        noisy, squared = directions(x)
        counts = state.pair_mask
        weight = counts / counts.sum(-1, keepdim=True).clamp_min(1)
        # an atom without others attends to itself, and not to padding
        bias = torch.where(counts | torch.diag_embed(~counts.any(-1)), 0.0, -1e4)
        embedding = self.conditioning(state, clocks, condition, has_guess=previous is not None)
        h = self.atoms(state, clocks, previous)
        e = self.pairs(state, clocks, previous, squared, guessed, preconditioning)
        v = h.new_zeros(len(state), state.size, 3, self.config.vectors, dtype=dtype)
        atoms = Atoms(h.to(dtype), v, e, u)
        for block in self.blocks:
            atoms = block(atoms, base, out, noisy, embedding, weight, bias)
        elements, charges, bonds = self.heads(atoms.h, atoms.e)
        properties: Tensor | None = None if self.property is None else self.property(atoms.h, mask)
        displacement = torch.where(mask.unsqueeze(-1), atoms.u, 0.0)
        return Prediction(
            positions=displacement, elements=elements, charges=charges, bonds=bonds, properties=properties
        )
