"""The unit cell: a Gaussian path of six standardised invariants of its logarithm.

A cell L (rows a, b, c) is rotated to S = (L L^T)^(1/2), which forgets the orientation. log S is symmetric; its six
coefficients in an orthonormal 0e + 2e basis are indexed by the lattice vectors, so they do not turn with the crystal.
The trace part is replaced by the logarithm of the volume per atom, whose statistics do not depend on the atom count.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from moldiff.config import LatticeConfig
from moldiff.denoiser import Clocks, CrystalPreconditioning, Prediction
from moldiff.diffusion.process import normal
from moldiff.state import State

#: Standardised invariants are kept within this many deviations when a cell is made of them.
FARTHEST = 6.0


def basis() -> Tensor:
    """The orthonormal basis (6, 3, 3) of symmetric matrices: the trace part 0e, then 2e in the order of `e3nn.o3`."""
    a, b = 1 / math.sqrt(2), 1 / math.sqrt(6)
    matrices = torch.zeros(6, 3, 3, dtype=torch.float64)
    matrices[0] = torch.eye(3) / math.sqrt(3)
    matrices[1, 0, 2] = matrices[1, 2, 0] = a
    matrices[2, 0, 1] = matrices[2, 1, 0] = a
    matrices[3].diagonal().copy_(torch.tensor([-b, 2 * b, -b]))
    matrices[4, 1, 2] = matrices[4, 2, 1] = a
    matrices[5].diagonal().copy_(torch.tensor([-a, 0.0, a]))
    return matrices


def _of_eigenvalues(matrix: Tensor, *, logarithm: bool) -> Tensor:
    """log (halved) or exp of symmetric matrices (B, 3, 3), float64, without gradients."""
    with torch.no_grad():
        values, vectors = torch.linalg.eigh(matrix.to(torch.float64))
        values = 0.5 * values.clamp_min(1e-12).log() if logarithm else values.exp()
        return (vectors * values.unsqueeze(-2)) @ vectors.transpose(-1, -2)


def log_symmetric(cell: Tensor) -> Tensor:
    """log S (B, 3, 3), float64, of cells (B, 3, 3) in angstrom; the same for every orientation of a cell."""
    wide = cell.to(torch.float64)
    return _of_eigenvalues(wide @ wide.transpose(-1, -2), logarithm=True)


def symmetric(cell: Tensor) -> Tensor:
    """S = (L L^T)^(1/2) of cells (B, 3, 3), in their dtype."""
    return _of_eigenvalues(log_symmetric(cell), logarithm=False).to(cell.dtype)


@final
class LatticeProcess:
    """Gaussian noise on the standardised invariants of the cell.

    Args:
        config: statistics of the training set.
    """

    field = "cell"
    guess = "invariants"

    def __init__(self, config: LatticeConfig) -> None:
        self.config = config

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        pair = (self.config.mean, self.config.deviation)
        mean, deviation = (torch.tensor(values, dtype=torch.float64, device=device) for values in pair)
        return mean, deviation

    def invariants(self, cell: Tensor, n_atoms: Tensor) -> Tensor:
        """Standardised invariants (B, 6) float32 of cells (B, 3, 3) with (B,) atoms."""
        coefficients = torch.einsum("kij,bij->bk", basis().to(cell.device), log_symmetric(cell))
        volume = coefficients[:, :1] * math.sqrt(3) - n_atoms.clamp_min(1).double().log().unsqueeze(-1)
        mean, deviation = self._statistics(cell.device)
        return ((torch.cat([volume, coefficients[:, 1:]], -1) - mean) / deviation).float()

    def matrix(self, invariants: Tensor, n_atoms: Tensor) -> Tensor:
        """Symmetric cells (B, 3, 3) float32 of standardised invariants (B, 6), without gradients."""
        mean, deviation = self._statistics(invariants.device)
        values = invariants.detach().double().clamp(-FARTHEST, FARTHEST) * deviation + mean
        trace = (values[:, :1] + n_atoms.clamp_min(1).double().log().unsqueeze(-1)) / math.sqrt(3)
        coefficients = torch.cat([trace, values[:, 1:]], -1)
        logarithm = torch.einsum("bk,kij->bij", coefficients, basis().to(values.device))
        return _of_eigenvalues(logarithm, logarithm=False).float()

    @staticmethod
    def scales(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input scale, skip and out (B, 1) of Karras et al. for data and noise of unit variance, at clocks (B,)."""
        total = ((1 - t) ** 2 + t**2).unsqueeze(-1)
        return total.rsqrt(), (1 - t).unsqueeze(-1) / total, t.unsqueeze(-1) * total.rsqrt()

    def _free(self, state: State, clocks: Clocks) -> Tensor:
        return ~clocks.is_given("cell", state)

    def preconditioning(self, state: State, clocks: Clocks) -> CrystalPreconditioning:
        """Scale, skip and out, each (B, 1), 1, 1 and 0 for given cells; and the invariants of the cells."""
        free = self._free(state, clocks).unsqueeze(-1)
        scale, skip, out = self.scales(torch.where(free[:, 0], clocks.time("cell", state), 0.0))
        return CrystalPreconditioning(scale, skip, out, self.invariants(state.field("cell"), state.n_atoms))

    def clean(self, raw: Tensor, state: State, clocks: Clocks, preconditioning: CrystalPreconditioning) -> Tensor:
        """Clean invariants (B, 6) from a raw output (B, 6); those of the cell where it is given."""
        x = preconditioning.invariants
        guess = preconditioning.skip * x + preconditioning.out * raw.float()
        return torch.where(self._free(state, clocks).unsqueeze(-1), guess, x)

    def cells(self, invariants: Tensor, state: State, clocks: Clocks) -> Tensor:
        """Cells (B, 3, 3) of standardised invariants; the cell itself where it is given."""
        cell = state.field("cell")
        made = self.matrix(invariants, state.n_atoms).to(cell.dtype)
        return torch.where(self._free(state, clocks)[:, None, None], made, cell)

    def prior(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> Tensor:
        """Cells with standard normal invariants; given ones stay."""
        noise = normal((len(state), 6), generator, state.device, torch.float32)
        return self.cells(noise, state, clocks)

    def corrupt(
        self, state: State, clocks: Clocks, t_from: Tensor, t_to: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Cells taken further on the path x_t = (1 - t) x_0 + t e."""
        x = self.invariants(state.field("cell"), state.n_atoms)
        ratio = (1 - t_to) / (1 - t_from).clamp_min(1e-9)
        amount = (t_to**2 - (ratio * t_from) ** 2).clamp_min(0).sqrt()
        noise = normal(x.shape, generator, x.device, x.dtype)
        moved = self.cells(ratio.unsqueeze(-1) * x + amount.unsqueeze(-1) * noise, state, clocks)
        return torch.where((t_to > t_from)[:, None, None], moved, state.field("cell"))

    def _guess(self, prediction: Prediction, state: State) -> Tensor:
        if prediction.invariants is not None:
            return prediction.invariants.float()
        if prediction.cell is None:
            raise ValueError("the prediction has neither invariants nor a cell: this denoiser knows no cells")
        return self.invariants(prediction.cell, state.n_atoms)

    def loss(self, prediction: Prediction, truth: State, noisy: State, clocks: Clocks) -> Tensor:
        """Squared error of the invariants over out^2, so that every clock weighs alike; (B,), 0 where given."""
        _, _, out = self.scales(clocks.time("cell", noisy))
        free = self._free(noisy, clocks).unsqueeze(-1) & (out > 0)
        target = self.invariants(truth.field("cell"), truth.n_atoms)
        error = (self._guess(prediction, noisy) - target) / torch.where(free, out, 1.0)
        return torch.where(free, error**2, 0.0).mean(-1)

    def step(
        self,
        state: State,
        prediction: Prediction,
        clocks: Clocks,
        t_from: Tensor,
        t_to: Tensor,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """One deterministic step along the path: x <- x_0 + (t_to / t_from) (x - x_0) in the invariants."""
        x, clean = self.invariants(state.field("cell"), state.n_atoms), self._guess(prediction, state)
        ratio = torch.where(t_from > 0, t_to / torch.where(t_from > 0, t_from, 1.0), 1.0).unsqueeze(-1)
        return self.cells(clean + ratio * (x - clean), state, clocks)

    def variable(self, t: Tensor, state: State) -> Tensor:
        """ln(t / (1 - t)), the logarithm of noise over signal, in which clean guesses are taken as linear; (B, 1)."""
        return torch.logit(t).unsqueeze(-1)
