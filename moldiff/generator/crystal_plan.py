"""What a sample of crystals is steered towards, resolved once a sample: wishes as tensors and wrapped denoisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict, final

import torch
from torch import Tensor

from moldiff.config import ModelConfig, SamplerConfig
from moldiff.denoiser import Denoiser, Network
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import Callback
from moldiff.generator import targets
from moldiff.generator.compositions import Ingredients, system
from moldiff.generator.crystal_results import structures
from moldiff.generator.crystal_rewards import CrystalReward, named
from moldiff.generator.execution import Execution
from moldiff.generator.goal import Goal
from moldiff.generator.ranks import Ranks
from moldiff.generator.rewards import Rewards
from moldiff.state import Alphabet, State


class CrystalModel(Protocol):
    """What the tasks need of a `CrystalGenerator`, which is built on them and cannot be imported there."""

    network: Network
    config: ModelConfig
    alphabets: Mapping[str, Alphabet]
    sampler: SamplerConfig
    device: torch.device
    execution: Execution
    ranks: Ranks

    @property
    def name(self) -> str:
        """Name of the data set."""
        ...

    @property
    def largest(self) -> int:
        """Atoms of the largest crystal trained on."""
        ...


def settings(model: CrystalModel, steps: int | None) -> SamplerConfig:
    """The model's sampler settings, in so many steps; fewer leave crystals' temperature as it is."""
    return model.sampler if steps is None else dataclasses.replace(model.sampler, steps=steps)


class CrystalWishes(TypedDict, total=False):
    """What `CrystalGenerator.sample`, `draw` and `stream` take beside the number of crystals and the settings.

    Attributes:
        composition: elements and their proportions, ``"LiFePO4"``; structure prediction.
        formula_units: formula units a cell, a number or (lowest, highest); all that fit, in the proportions of the
            training set's atom counts, by default.
        chemical_system: only these elements, each at least once: ``"Li-Fe-P-O"``.
        elements, forbid: the only elements allowed; elements not allowed.
        require: elements that must be there, each as often as it is named. Constraints hold in every crystal.
        target: property -> value, see `CrystalGenerator.properties`; ``"spacegroup"`` takes a number from 1 to 230.
        guidance: weight of the target; 1 is plain conditional, more follows the target closer and varies less, and
            costs two network evaluations a step. 0 ignores it.
        reward: steer towards more of it: ``list[ase.Atoms] -> array``, one number a crystal, NaN for no judgement; or a
            name of `moldiff.generator.crystal_rewards`: density, smact (charges that can balance), symmetry; or
            ``"target"``: closeness to the target as the property head sees it.
        particles: crystals that compete for each place in the sample; each costs as much as one.
        strength: how much a unit of the reward counts: the sample is tilted by exp(strength * reward).
    """

    composition: str | None
    formula_units: int | Sequence[int] | None
    chemical_system: str | Sequence[str] | None
    elements: str | Sequence[str] | None
    forbid: str | Sequence[str] | None
    require: str | Sequence[str] | None
    target: Mapping[str, float] | None
    guidance: float
    reward: str | CrystalReward | None
    particles: int
    strength: float


@final
class CrystalPlan:
    """The wishes of one sample, checked.

    Args:
        config: of the model.
        alphabets: its symbols.
        reference: file beside the weights with the `moldiff.data.sizes.SizeTable`, if there is one.
        wishes: see `CrystalWishes`.

    Attributes:
        evaluations: network evaluations of a crystal in one sampler step.
        particles: crystals that compete for each place in the sample.
        system: elements of the chemical system asked for, none for no such wish.

    Raises:
        ValueError: for wishes that are unknown or cannot be met.
    """

    def __init__(
        self,
        config: ModelConfig,
        alphabets: Mapping[str, Alphabet],
        *,
        reference: Path | None = None,
        wishes: CrystalWishes,
    ) -> None:
        known = CrystalWishes.__annotations__
        unknown = [name for name in wishes if name not in known]
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r} for crystals: there are {', '.join(known)}")
        self.config = config

        def rewards(reward: Any) -> Rewards:
            function = named(reward, config) if isinstance(reward, str) else reward
            if not callable(function):
                raise ValueError(f"a reward of crystals is a function of a list of ase.Atoms or a name, not {reward!r}")
            return Rewards(
                function, config=config, alphabets=alphabets, decode=lambda state: structures(state, alphabets)
            )

        self.goal = Goal(config, wishes, rewards=rewards)
        self.particles, self.evaluations = self.goal.particles, self.goal.evaluations
        self.system = system(wishes.get("chemical_system") or ())
        self.ingredients = Ingredients(
            alphabets["elements"],
            largest=max(map(int, config.sizes)),
            composition=wishes.get("composition"),
            formula_units=wishes.get("formula_units"),
            chemical_system=wishes.get("chemical_system"),
            elements=wishes.get("elements"),
            forbid=wishes.get("forbid"),
            require=wishes.get("require"),
        )

        likely = targets.size_weights(config, self.goal.target, reference)
        self.histogram: dict[str, float] = dict(config.sizes)
        if likely is not None:
            self.histogram = dict(zip(config.sizes, likely.tolist(), strict=True))

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the report."""
        return self.goal.notes(self.ingredients)

    def sizes(
        self, n: int, n_atoms: int | Sequence[int] | None, *, generator: torch.Generator, again: bool = False
    ) -> Tensor:
        """(n,) atom counts: the user's, or drawn as in the training set among those that meet the constraints,
        and as they go with the target where that is known.

        `again`: these are more crystals than the user said atom counts for, to fill up; theirs come round again.

        Raises:
            ValueError: for counts against the constraints, or not n of them.
        """
        n_atoms = self.ingredients.sizes(n_atoms)
        if n_atoms is None:
            known = torch.tensor([int(size) for size in self.histogram])
            weights = self.ingredients.weights(self.histogram)
            return known[torch.multinomial(weights, n, replacement=True, generator=generator)]
        if isinstance(n_atoms, int):
            return torch.full((n,), n_atoms)
        if len(n_atoms) != n and not again:
            raise ValueError(f"n_atoms must be a number, or {n} of them, not {len(n_atoms)}")
        return torch.tensor([n_atoms[i % len(n_atoms)] for i in range(n)])

    def draw(
        self,
        denoiser: Denoiser,
        process: JointProcess,
        *,
        state: State,
        generator: torch.Generator,
        config: SamplerConfig,
        given: Mapping[str, Tensor] | None = None,
        callback: Callback | None = None,
    ) -> State:
        """Draw the crystals of one batch; arguments as for `moldiff.diffusion.sampler.sample`."""
        state, masks = self.goal.copies(state, given or {})
        guided, condition = self.goal.guide(denoiser, state)
        if not masks:
            state, masks = self.ingredients.give(state, generator=generator)
        return self.goal.draw(
            guided,
            process,
            plain=denoiser,
            state=state,
            generator=generator,
            config=config,
            given=masks,
            condition=condition,
            constraints=self.ingredients.constraints(),
            callback=callback,
        )
