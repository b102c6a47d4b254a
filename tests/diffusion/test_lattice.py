"""The cell: its invariants, the prior, the path, and that its orientation does not matter."""

from __future__ import annotations

import pytest
import torch
from e3nn import o3
from torch import Tensor

from moldiff.config import LatticeConfig
from moldiff.denoiser import Clocks, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.lattice import LatticeProcess, basis, log_symmetric, symmetric
from moldiff.state import State

CONFIG = LatticeConfig(mean=(2.9, 0.03, 0.02, -0.1, 0.0, 0.3), deviation=(0.4, 0.2, 0.2, 0.2, 0.25, 0.3))


def skewed(count: int, *, seed: int = 0) -> Tensor:
    """Cells of about 5 angstrom with angles between about 60 and 120 degrees."""
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(3) * 5 + torch.randn((count, 3, 3), generator=generator)


def state_of(cell: Tensor, n: int = 4) -> State:
    b = len(cell)
    return State(
        mask=torch.ones(b, n, dtype=torch.bool),
        elements=torch.zeros(b, n, dtype=torch.long),
        fractional=torch.zeros(b, n, 3),
        cell=cell,
    )


def test_the_basis_is_that_of_e3nn() -> None:
    theirs = o3.ReducedTensorProducts("ij=ji", i="1o").change_of_basis.double()
    assert torch.allclose(basis(), theirs, atol=1e-6)
    gram = torch.einsum("kij,lij->kl", basis(), basis())
    assert torch.allclose(gram, torch.eye(6, dtype=torch.float64))


def test_symmetric_cells_keep_the_metric_and_forget_the_orientation() -> None:
    cell = skewed(20).double()
    s = symmetric(cell)
    assert torch.allclose(s, s.transpose(1, 2)) and (torch.linalg.eigvalsh(s) > 0).all()
    assert torch.allclose(s @ s.transpose(1, 2), cell @ cell.transpose(1, 2))
    turned = cell @ o3.rand_matrix(20).double()
    assert torch.allclose(log_symmetric(turned), log_symmetric(cell), atol=1e-6)


def test_invariants_and_cells_are_inverse_and_know_the_volume_per_atom() -> None:
    process, cell = LatticeProcess(CONFIG), symmetric(skewed(30))
    n = torch.arange(1, 31)
    x = process.invariants(cell, n)
    assert x.shape == (30, 6)
    assert torch.allclose(process.matrix(x.clamp(-6, 6), n)[x.abs().amax(1) < 6], cell[x.abs().amax(1) < 6], atol=1e-4)
    volume = torch.linalg.det(cell) / n
    assert torch.allclose(x[:, 0], (volume.log() - 2.9) / 0.4, atol=1e-4)
    # the same shape with twice the atoms in twice the volume has the same invariants
    assert torch.allclose(process.invariants(cell * 2 ** (1 / 3), 2 * n), x, atol=1e-4)


def test_rotating_the_cell_changes_neither_invariants_nor_loss() -> None:
    process, truth = LatticeProcess(CONFIG), state_of(skewed(10))
    noisy = state_of(skewed(10, seed=1))
    clocks = Clocks.shared(truth, 0.4)
    guess = Prediction(invariants=torch.randn((10, 6), generator=torch.Generator().manual_seed(2)))
    turn = o3.rand_matrix(10)
    turned = [state.replace(cell=state.field("cell") @ turn) for state in (truth, noisy)]
    invariants = process.invariants(truth.field("cell"), truth.n_atoms)
    assert torch.allclose(process.invariants(turned[0].field("cell"), truth.n_atoms), invariants, atol=1e-4)
    loss = process.loss(guess, truth, noisy, clocks)
    assert torch.allclose(process.loss(guess, *turned, clocks), loss, rtol=1e-4)


def test_the_prior_has_the_statistics_of_the_training_set() -> None:
    process, state = LatticeProcess(CONFIG), state_of(skewed(20000))
    cells = process.prior(state, Clocks.shared(state, 1.0), generator=torch.Generator().manual_seed(0))
    x = process.invariants(cells, state.n_atoms)
    assert torch.allclose(x.mean(0), torch.zeros(6), atol=0.03) and torch.allclose(x.std(0), torch.ones(6), atol=0.03)
    per_atom = (torch.linalg.det(cells) / 4).log()
    assert float(per_atom.mean()) == pytest.approx(2.9, abs=0.01)
    assert float(per_atom.std()) == pytest.approx(0.4, abs=0.01)


def test_the_path_keeps_its_marginals_in_one_step_or_two() -> None:
    process, state = LatticeProcess(CONFIG), state_of(symmetric(skewed(1)).repeat(20000, 1, 1))
    clocks, generator = Clocks.shared(state, 0.5), torch.Generator().manual_seed(0)
    zero, third, half = (torch.full((20000,), t) for t in (0.0, 0.3, 0.5))
    start = process.invariants(state.field("cell"), state.n_atoms)
    once = process.corrupt(state, clocks, zero, half, generator=generator)
    between = process.corrupt(state, clocks, zero, third, generator=generator)
    twice = process.corrupt(state.replace(cell=between), clocks, third, half, generator=generator)
    for cells in (once, twice):
        x = process.invariants(cells, state.n_atoms)
        assert torch.allclose(x.mean(0), 0.5 * start[0], atol=0.03)
        assert torch.allclose(x.std(0), torch.full((6,), 0.5), atol=0.02)


def test_preconditioning_gives_unit_variance_and_the_loss_of_zero_output_is_one() -> None:
    process, state = LatticeProcess(CONFIG), state_of(skewed(1).repeat(20000, 1, 1))
    generator = torch.Generator().manual_seed(0)
    data = torch.randn((20000, 6), generator=generator)
    truth = state.replace(cell=process.matrix(data, state.n_atoms))
    for t in (0.05, 0.5, 1.0):
        clocks = Clocks.shared(state, t)
        time = torch.full((20000,), t)
        moved = process.corrupt(truth, clocks, 0 * time, time, generator=generator)
        noisy = truth.replace(cell=moved)
        known = process.preconditioning(noisy, clocks)
        assert float((known.scale * known.invariants).std()) == pytest.approx(1, abs=0.03)
        clean = process.clean(torch.zeros(20000, 6), noisy, clocks, known)
        loss = process.loss(Prediction(invariants=clean), truth, noisy, clocks)
        assert float(loss.mean()) == pytest.approx(1, abs=0.05)


def test_steps_end_on_the_guess_and_given_cells_stay() -> None:
    process, state = LatticeProcess(CONFIG), state_of(skewed(4))
    guess = Prediction(invariants=torch.randn((4, 6), generator=torch.Generator().manual_seed(1)))
    given = torch.tensor([True, False, True, False])
    clocks = Clocks.shared(state, 0.5, given={"cell": given})
    half, generator = torch.full((4,), 0.5), torch.Generator().manual_seed(0)
    end = process.step(state, guess, clocks, half, 0 * half, generator=generator)
    expected = process.matrix(guess.invariants, state.n_atoms)
    assert torch.allclose(end[~given], expected[~given], rtol=1e-4, atol=1e-4)
    assert torch.equal(end[given], state.field("cell")[given])
    for cells in (
        process.prior(state, clocks, generator=generator),
        process.corrupt(state, clocks, 0 * half, half, generator=generator),
    ):
        assert torch.equal(cells[given], state.field("cell")[given])
        assert not torch.equal(cells[~given], state.field("cell")[~given])
    loss = process.loss(guess, state, state, clocks)
    assert (loss[given] == 0).all() and (loss[~given] > 0).all()


def test_wild_invariants_still_make_a_cell() -> None:
    cells = LatticeProcess(CONFIG).matrix(torch.full((1, 6), 1e6), torch.tensor([5]))
    assert torch.isfinite(cells).all() and torch.linalg.det(cells) > 0


def test_bad_statistics_and_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="six means"):
        LatticeConfig(mean=(0.0,), deviation=(1.0,))
    state = state_of(skewed(1))
    with pytest.raises(ValueError, match="knows no cells"):
        LatticeProcess(CONFIG).loss(Prediction(), state, state, Clocks.shared(state, 0.5))


def test_second_order_takes_the_guess_to_its_mean_over_the_step() -> None:
    process, state = JointProcess([LatticeProcess(CONFIG)]), state_of(skewed(3))
    times = {"before": torch.full((3,), 0.8), "t_from": torch.full((3,), 0.6), "t_to": torch.full((3,), 0.5)}
    now, earlier = Prediction(invariants=torch.ones(3, 6)), Prediction(invariants=torch.full((3, 6), 3.0))

    def at(times: dict[str, Tensor]) -> dict[str, Clocks]:
        names = {"before": "before", "t_from": "clocks", "t_to": "after"}
        return {names[name]: Clocks({"cell": time}) for name, time in times.items()}

    taken = process.extrapolate(now, earlier, state, **at(times))
    weight = torch.logit(torch.tensor(0.6)) / (2 * (torch.logit(torch.tensor(0.8)) - torch.logit(torch.tensor(0.6))))
    assert taken.invariants is not None
    assert torch.allclose(taken.invariants, 1 - 2 * weight)
    zero, one = torch.zeros(3), torch.ones(3)
    for edge in (times | {"t_to": zero}, times | {"before": one}, times | {"t_from": zero, "t_to": zero}):
        kept = process.extrapolate(now, earlier, state, **at(edge))
        assert kept.invariants is not None and torch.equal(kept.invariants, torch.ones(3, 6))
    assert process.extrapolate(Prediction(), earlier, state, **at(times)) == Prediction()
