"""The joint process over all fields of a State, and the one place where a raw network is preconditioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from moldiff.config import DiffusionConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Denoiser, Network, Prediction
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.lattice import LatticeProcess
from moldiff.diffusion.process import Multistep, Process
from moldiff.diffusion.schedule import log_linear, log_linear_clock, multistep_weight
from moldiff.diffusion.torus import TorusProcess
from moldiff.state import SYMBOL_FIELDS, Alphabet, State


@final
class JointProcess:
    """One process a field. A process for a new field is passed in; nothing is registered.

    Args:
        processes: the processes, at most one a field.
        weights: loss weight of each field; 1 where not named.
    """

    def __init__(self, processes: list[Process], *, weights: Mapping[str, float] | None = None) -> None:
        self.processes: dict[str, Process] = {process.field: process for process in processes}
        if len(self.processes) != len(processes):
            raise ValueError(f"two processes for one field: {[process.field for process in processes]}")
        self.weights = dict(weights or {})

    @staticmethod
    def for_molecules(
        config: DiffusionConfig, alphabets: Mapping[str, Alphabet], *, sampler: SamplerConfig | None = None
    ) -> JointProcess:
        """Gaussian positions and masked elements, charges and bonds.

        Args:
            config: settings of the processes.
            alphabets: field name -> alphabet.
            sampler: re-masking, temperature and order while stepping; none by default, as in training.
        """
        sampler = sampler or SamplerConfig(remask=0.0, confidence=0.0)
        symbols = [
            CategoricalProcess(
                name,
                alphabets[name],
                config=getattr(config, name),
                remask=sampler.remask,
                temperature=sampler.temperature,
                cooled=sampler.cooled,
                shares=sampler.bond_shares if name == "bonds" else (),
                confidence=sampler.confidence,
            )
            for name in SYMBOL_FIELDS
        ]
        return JointProcess([GaussianProcess(config.positions), *symbols], weights=config.weights)

    @staticmethod
    def for_crystals(
        config: DiffusionConfig, alphabets: Mapping[str, Alphabet], *, sampler: SamplerConfig | None = None
    ) -> JointProcess:
        """Fractional coordinates on the torus, Gaussian cells and masked elements; arguments as `for_molecules`."""
        sampler = sampler or SamplerConfig(remask=0.0, confidence=0.0, anneal=0.0, anneal_given=0.0)
        elements = CategoricalProcess(
            "elements",
            alphabets["elements"],
            config=config.elements,
            remask=sampler.remask,
            temperature=sampler.temperature,
            confidence=sampler.confidence,
        )
        torus = TorusProcess(anneal=sampler.anneal, anneal_given=sampler.anneal_given)
        return JointProcess([torus, LatticeProcess(config.lattice), elements], weights=config.weights)

    def prior(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> State:
        """Every field at clock 1; given entries keep their values."""
        drawn = {name: process.prior(state, clocks, generator=generator) for name, process in self.processes.items()}
        return state.replace(**drawn)

    def corrupt(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> State:
        """Clean structures taken to the clocks, given entries untouched."""
        zero = torch.zeros(len(state), device=state.device)
        noised = {
            name: process.corrupt(state, clocks, zero, clocks.time(name, state), generator=generator)
            for name, process in self.processes.items()
        }
        return state.replace(**noised)

    def losses(self, prediction: Prediction, truth: State, noisy: State, clocks: Clocks) -> dict[str, Tensor]:
        """Unweighted loss (B,) of every field."""
        return {name: process.loss(prediction, truth, noisy, clocks) for name, process in self.processes.items()}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum (B,) of losses."""
        return torch.stack([self.weights.get(name, 1.0) * value for name, value in losses.items()]).sum(0)

    def step(
        self, state: State, prediction: Prediction, clocks: Clocks, after: Clocks, *, generator: torch.Generator
    ) -> State:
        """Every field moved from its clock in `clocks` to the earlier one in `after`."""
        stepped = {
            name: process.step(
                state, prediction, clocks, clocks.time(name, state), after.time(name, state), generator=generator
            )
            for name, process in self.processes.items()
        }
        return state.replace(**stepped)

    def extrapolate(
        self,
        prediction: Prediction,
        previous: Prediction,
        state: State,
        *,
        before: Clocks,
        clocks: Clocks,
        after: Clocks,
    ) -> Prediction:
        """A prediction for a second-order step from `clocks` to `after`, from one made at the clocks `before`.

        Continuous fields alone are extrapolated; the logits of symbols are those of now.
        """
        changes: dict[str, Tensor] = {}
        for name, process in self.processes.items():
            if not isinstance(process, Multistep):
                continue
            now, earlier = getattr(prediction, process.guess), getattr(previous, process.guess)
            if now is None or earlier is None:
                continue
            weight = multistep_weight(*(process.variable(c.time(name, state), state) for c in (clocks, after, before)))
            changes[process.guess] = now + weight * (now - earlier)
        return replace(prediction, **changes)

    def churn(
        self, state: State, clocks: Clocks, sampler: SamplerConfig, *, generator: torch.Generator
    ) -> tuple[State, Clocks]:
        """Raise the noise on positions by the factor 1 + churn where it lies between `churn_from` and `churn_to`.

        Only the clock of the positions advances. Symbols have their own stochasticity (`SamplerConfig.remask`).
        """
        process = self.processes.get("positions")
        if sampler.churn <= 0 or not isinstance(process, GaussianProcess):
            return state, clocks
        c = process.config
        t = clocks.time("positions", state)
        level = log_linear(t, c.smallest, c.largest)
        inside = (level >= sampler.churn_from) & (level <= sampler.churn_to)
        raised = log_linear_clock(level.clamp_min(c.smallest) * (1 + sampler.churn), c.smallest, c.largest)
        t_to = torch.where(inside, raised, t)
        positions = process.corrupt(state, clocks, t, t_to, generator=generator)
        return state.replace(positions=positions), clocks.at(positions=t_to)


def overwrite_given(prediction: Prediction, state: State, clocks: Clocks, *, sharpness: float = 30.0) -> Prediction:
    """The prediction with the logits of given symbols replaced by the truth, so that guesses and givens agree."""
    changes: dict[str, Tensor] = {}
    for name in SYMBOL_FIELDS:
        logits = getattr(prediction, name)
        if logits is None or name not in clocks.given:
            continue
        truth = state.field(name).clamp_max(logits.shape[-1] - 1)
        exact = torch.nn.functional.one_hot(truth, logits.shape[-1]).to(logits.dtype) * sharpness
        changes[name] = torch.where(clocks.is_given(name, state).unsqueeze(-1), exact, logits)
    if not changes:
        return prediction
    return replace(prediction, **changes)


def denoiser(network: Network, process: JointProcess) -> Denoiser:
    """A raw network as a Denoiser: raw outputs preconditioned, given parts overwritten by the truth.

    Args:
        network: raw outputs, see `moldiff.denoiser.Network`.
        process: the joint process, which must have positions with a preconditioning, or fractional coordinates and
            cells.

    Raises:
        ValueError: if the process has neither.
    """
    positions, cell = process.processes.get("positions"), process.processes.get("cell")
    torus = process.processes.get("fractional")
    if isinstance(torus, TorusProcess) and isinstance(cell, LatticeProcess):
        return _crystal_denoiser(network, torus, cell)
    if not hasattr(positions, "preconditioning"):
        raise ValueError(
            "this joint process has no preconditioned positions: pass a GaussianProcess or use for_crystals"
        )
    gaussian: GaussianProcess = positions  # type: ignore[assignment]

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        preconditioning = gaussian.preconditioning(state, clocks)
        raw = network(state, clocks, condition, previous, preconditioning)
        if raw.positions is None:
            raise ValueError("the network gave no displacement: set Prediction.positions")
        clean = gaussian.clean(raw.positions, state, clocks, preconditioning)
        return overwrite_given(replace(raw, positions=clean), state, clocks)

    return denoise


def _crystal_denoiser(network: Network, torus: TorusProcess, lattice: LatticeProcess) -> Denoiser:
    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        preconditioning = lattice.preconditioning(state, clocks)
        raw = network(state, clocks, condition, previous, preconditioning)
        if raw.tangent is None or raw.invariants is None:
            raise ValueError("the network gave no velocity or no cell: set Prediction.tangent and .invariants")
        tangent = torus.tangent(raw.tangent, state, clocks)
        invariants = lattice.clean(raw.invariants, state, clocks, preconditioning)
        with torch.no_grad():
            fractional, cell = torus.clean(tangent, state, clocks), lattice.cells(invariants, state, clocks)
        prediction = replace(raw, tangent=tangent, invariants=invariants, fractional=fractional, cell=cell)
        return overwrite_given(prediction, state, clocks)

    return denoise
