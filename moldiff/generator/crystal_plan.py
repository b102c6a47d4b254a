"""What a sample of crystals is steered towards, resolved once a sample: wishes as tensors and wrapped denoisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypedDict, final

import torch
from torch import Tensor

from moldiff.config import ModelConfig, SamplerConfig
from moldiff.denoiser import Condition, Denoiser, Network
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import Callback, sample
from moldiff.generator import targets
from moldiff.generator.compositions import Ingredients
from moldiff.generator.crystal_results import structures
from moldiff.generator.crystal_rewards import CrystalReward, named
from moldiff.generator.guided import chain
from moldiff.generator.rewards import Rewards
from moldiff.guidance.classifier_free import check_weight, classifier_free, evaluations
from moldiff.guidance.constraints import Constrained
from moldiff.guidance.steering import Steering
from moldiff.state import Alphabet, State


class CrystalModel(Protocol):
    """What the tasks need of a `CrystalGenerator`, which is built on them and cannot be imported there."""

    network: Network
    config: ModelConfig
    alphabets: Mapping[str, Alphabet]
    sampler: SamplerConfig
    device: torch.device

    @property
    def name(self) -> str:
        """Name of the data set."""
        ...

    @property
    def largest(self) -> int:
        """Atoms of the largest crystal trained on."""
        ...

    def _autocast(self) -> AbstractContextManager[Any]: ...


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
            name of `moldiff.generator.crystal_rewards`: density, smact (charges that can balance), symmetry.
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
        self.target = targets.check_target(config, wishes.get("target") or {})
        self.weight = float(wishes.get("guidance", 1.0))
        check_weight(self.weight)
        reward, self.particles = wishes.get("reward"), 1
        self.rewards: Rewards | None = None
        self.strength = float(wishes.get("strength", 1.0))
        if reward is not None:
            function = named(reward, config) if isinstance(reward, str) else reward
            if not callable(function):
                raise ValueError(f"a reward of crystals is a function of a list of ase.Atoms or a name, not {reward!r}")
            self.rewards = Rewards(
                function, config=config, alphabets=alphabets, decode=lambda state: structures(state, alphabets)
            )
            self.particles = wishes.get("particles", 4)
            # refuses senseless settings now and not in the first batch
            self._steering(self.rewards, torch.Generator())
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

        likely = targets.size_weights(config, self.target, reference)
        self.histogram: dict[str, float] = dict(config.sizes)
        if likely is not None:
            self.histogram = dict(zip(config.sizes, likely.tolist(), strict=True))

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the report."""
        lines = []
        if self.target:
            units = {p.name: p.unit for p in self.config.properties}
            asked = ", ".join(f"{name} {value:g} {units[name]}".strip() for name, value in self.target.items())
            lines.append(f"target: {asked}; guidance {self.weight:g}")
        if str(self.ingredients):
            lines.append(f"constraints: {self.ingredients}")
        if self.rewards is not None:
            lines.append(f"{self.rewards}; {self.particles} particles, strength {self.strength:g}")
        return tuple(lines)

    def _steering(self, rewards: Rewards, generator: torch.Generator) -> Steering:
        return Steering(rewards, particles=self.particles, strength=self.strength, generator=generator)

    @property
    def evaluations(self) -> int:
        """Network evaluations of a crystal in one sampler step."""
        return self.particles * (evaluations(self.weight) if self.target else 1)

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
        condition: Condition | None = None
        steering: Steering | None = None
        callbacks: list[Callback] = []
        masks = dict(given or {})
        if self.rewards is not None:
            rows = torch.arange(len(state), device=state.device).repeat_interleave(self.particles)
            state, masks = state.index(rows), {name: mask[rows] for name, mask in masks.items()}
        if self.target:
            denoiser = classifier_free(denoiser, self.weight)
            condition = targets.condition(self.config, self.target, len(state), state.device)
        if not masks:
            state, masks = self.ingredients.give(state, generator=generator)
        constraints = self.ingredients.constraints()
        if constraints:
            constrained = Constrained(denoiser, constraints, generator=generator, temperature=config.temperature)
            denoiser = constrained
            callbacks.append(constrained.restore)
        if self.rewards is not None:
            # on the CPU, where the rewards are
            steering = self._steering(self.rewards, torch.Generator().manual_seed(generator.initial_seed()))
            callbacks.append(steering)
        if callback is not None:
            callbacks.append(callback)
        done = sample(
            denoiser,
            process,
            state=state,
            generator=generator,
            config=config,
            given=masks,
            condition=condition,
            callback=chain(callbacks),
        )
        return done if steering is None else done.index(steering.choose().to(done.device))
