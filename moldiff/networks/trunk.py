"""The trunk: a dense E(3)-equivariant graph transformer with a persistent pair stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, final

import torch
from torch import Tensor, nn

from moldiff.config import NetworkConfig
from moldiff.denoiser import Clocks, Condition, CrystalPreconditioning, Preconditioning, Prediction
from moldiff.networks.compilation import Run, When, choose, eager
from moldiff.networks.conditioning import Conditioning
from moldiff.networks.heads import CrystalHeads, SymbolHeads
from moldiff.networks.layers import Atoms, Block, Frame, FreeFrame, directions
from moldiff.networks.pairs import AtomFeatures, PairFeatures, Pairs
from moldiff.networks.periodic import CrystalPairFeatures, PeriodicFrame, shifts
from moldiff.networks.property import PropertyHead
from moldiff.state import Alphabet, State, centred


@final
class Trunk(nn.Module):
    """Raw network for molecules or crystals, see `moldiff.denoiser.Network`.

    Scalars of atoms and pairs are invariant, vectors and the displacement turn with the input; a common translation
    changes nothing, since only differences of positions enter. Every block looks at the current guess of the clean
    structure, ``skip * positions + out * u``; with self-conditioning u starts from the previous guess. For crystals u
    is the velocity of the fractional coordinates f, and the guess ``f - t * u`` in the cell of the previous guess, or
    in the noisy cell where there is none.

    Args:
        config: sizes.
        alphabets: field name -> alphabet, for elements, charges and bonds (crystals: for elements).
        properties: number of properties P that can be conditioned on; 0 for none.
        kind: ``"molecule"`` or ``"crystal"``.
        classes: a property each, how many classes it has; 0 for a number.

    Attributes:
        compiled: when the blocks and what else looks at pairs run compiled where no context of
            `moldiff.networks.compilation.running` says it.
    """

    def __init__(
        self,
        config: NetworkConfig,
        alphabets: Mapping[str, Alphabet],
        *,
        properties: int = 0,
        kind: str = "molecule",
        classes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.config, self.kind = config, kind
        self.compiled: When = "never"
        crystal = kind == "crystal"
        fields = ("fractional", "cell", "elements") if crystal else ("positions", "elements", "charges", "bonds")
        self.conditioning = Conditioning(
            fields, properties, config.condition, classes=classes, extra=13 if crystal else 0
        )
        self.atoms = AtomFeatures(config, alphabets)
        self.pairs: nn.Module = CrystalPairFeatures(config) if crystal else PairFeatures(config, alphabets)
        self.blocks = nn.ModuleList(Block(config, periodic=crystal) for _ in range(config.blocks))
        self.heads: nn.Module = CrystalHeads(config, alphabets) if crystal else SymbolHeads(config, alphabets)
        self.property = PropertyHead(config, properties) if properties else None
        if crystal:
            self.register_buffer("near", shifts(1), persistent=False)

    def forward(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning | CrystalPreconditioning,
    ) -> Prediction:
        """Raw outputs of every field and standardised properties (B, P).

        Molecules: displacement (B, N, 3), logits of elements, charges and bonds. Crystals: velocity (B, N, 3), logits
        of elements, raw invariants of the cell (B, 6).
        """
        if self.kind == "crystal":
            crystal = cast(CrystalPreconditioning, preconditioning)
            return self._crystal(state, clocks, condition, previous, crystal)
        return self._molecule(state, clocks, condition, previous, cast(Preconditioning, preconditioning))

    def _walk(self, run: Run, atoms: Atoms, frame: Frame, noisy: Tensor, embedding: Tensor, counts: Tensor) -> Atoms:
        """All blocks; `counts` (B, N, N) bool are the pairs that count."""
        weight = counts / counts.sum(-1, keepdim=True).clamp_min(1)
        # an atom without others attends to itself, and not to padding
        bias = torch.where(counts | torch.diag_embed(~counts.any(-1)), 0.0, -1e4)
        if run is not eager:
            # views, as linear maps make them, would need a graph of their own
            atoms = atoms._replace(h=atoms.h.clone(), e=atoms.e.clone())
        for block in self.blocks:
            atoms = run(block, atoms, frame, noisy, embedding, weight, bias)
        return atoms

    def _start(self, h: Tensor, e: Tensor, u: Tensor) -> Atoms:
        return Atoms(h.to(u.dtype), h.new_zeros(*h.shape[:2], 3, self.config.vectors, dtype=u.dtype), e, u)

    def _molecule(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
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

        run = choose(self.compiled, mask)
        noisy, squared = directions(x)
        embedding = self.conditioning(state, clocks, condition, has_guess=previous is not None)
        h = self.atoms(state, clocks, previous)
        pairs = Pairs.of(state, clocks, previous, squared, guessed, preconditioning)
        # without a guess, once a sample, they would need a graph of their own
        e = (eager if previous is None else run)(self.pairs, pairs)
        atoms = self._walk(run, self._start(h, e, u), FreeFrame(base, out), noisy, embedding, state.pair_mask)
        elements, charges, bonds = run(self.heads, atoms.h, atoms.e)
        return Prediction(
            positions=torch.where(mask.unsqueeze(-1), atoms.u, 0.0),
            elements=elements,
            charges=charges,
            bonds=bonds,
            properties=self._properties(atoms.h, mask),
        )

    def _crystal(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: CrystalPreconditioning,
    ) -> Prediction:
        mask = state.mask
        f = state.field("fractional")
        dtype = torch.promote_types(f.dtype, torch.float32)
        f, cell = f.to(dtype), state.field("cell").to(dtype)
        free = (mask & ~clocks.is_given("fractional", state)).unsqueeze(-1)
        t = clocks.time("fractional", state).to(dtype)[:, None, None] * free
        near = cast(Tensor, self.near)
        u = torch.zeros_like(f)
        start = PeriodicFrame.of(f, t, cell, near)
        noisy, _ = start.look(u)

        scaled = (preconditioning.invariants * preconditioning.scale).to(dtype)
        told = [scaled, torch.zeros_like(scaled), scaled.new_zeros(len(state), 1)]
        frame = start
        if previous is not None and previous.fractional is not None and previous.cell is not None:
            ahead = f - previous.fractional.to(dtype)
            ahead = (ahead - torch.round(ahead)) * free
            u = (ahead / t.clamp_min(1e-3)).clamp(-1, 1)
            frame = PeriodicFrame.of(f, t, previous.cell.to(dtype), near)
            if previous.invariants is not None:
                told[1] = previous.invariants.to(dtype).clamp(-6, 6)
            told[2] = torch.ones_like(told[2])
        cells = torch.cat(told, -1)

        embedding = self.conditioning(state, clocks, condition, has_guess=previous is not None, extra=cells)
        h = self.atoms(state, clocks, previous)
        e = self.pairs(state, clocks, previous, cells)
        # an atom sees its own images: the pair i = i counts
        counts = mask[:, :, None] & mask[:, None, :]
        run = choose(self.compiled, mask)
        atoms = self._walk(run, self._start(h, e, u), frame, noisy, embedding, counts)
        elements, invariants = self.heads(atoms.h, mask)
        return Prediction(
            tangent=torch.where(free, atoms.u, 0.0),
            elements=elements,
            invariants=invariants,
            properties=self._properties(atoms.h, mask),
        )

    def _properties(self, h: Tensor, mask: Tensor) -> Tensor | None:
        return None if self.property is None else self.property(h, mask)
