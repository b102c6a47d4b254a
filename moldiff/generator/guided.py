"""What a sample is steered towards, resolved once a sample: the wishes of the user as tensors and wrapped denoisers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from moldiff.config import ModelConfig, SamplerConfig
from moldiff.denoiser import Condition, Denoiser
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import Callback
from moldiff.generator import targets
from moldiff.generator.formulas import Chemistry
from moldiff.generator.goal import Goal
from moldiff.generator.rewards import MolReward, Rewards, valid_connected
from moldiff.guidance.gradient import BACKWARD, by_gradient, check_scale
from moldiff.state import Alphabet, State


class Wishes(TypedDict, total=False):
    """What `Generator.sample`, `draw` and `stream` take beside the number of structures and the settings.

    Attributes:
        target: property -> value, see `Generator.properties`.
        guidance: weight of the target; 1 is plain conditional, more follows the target closer and varies less, and
            costs two network evaluations a step. 0 ignores it, but for the atom counts.
        gradient: follow the target by the gradient of the property head, too: the sample is tilted by
            exp(-gradient / 2 * squared deviation), deviations in units of the training set's; 10 to 50 are usual. Costs
            about two evaluations more a step, three where `guidance` is 1. 0 is none.
        formula: exact elements, which fix the atom count: ``"C7H10O2"``; neutral unless it ends in a charge.
        elements, forbid: the only elements allowed; elements not allowed. The formula of a training molecule that has
            only these is given to each structure, where one has as many atoms.
        require: elements that must be there, each as often as it is named.
        charge: net charge. Constraints hold in every structure, valid or not.
        reward: steer towards more of it: ``list[Mol] -> array``, or a name of `moldiff.generator.rewards`:
            qed, logp, tpsa, rings, sa (easy synthesis), xtb-gap (wide), strain (little); or ``"target"``: closeness to
            the target as the property head sees it, valid and connected molecules first.
        particles: structures that compete for each place in the sample; each costs as much as one.
        strength: how much a unit of the reward counts: the sample is tilted by exp(strength * reward).
    """

    target: Mapping[str, float] | None
    guidance: float
    gradient: float
    formula: str | None
    elements: str | Sequence[str] | None
    forbid: str | Sequence[str] | None
    require: str | Sequence[str] | None
    charge: int | None
    reward: str | MolReward | None
    particles: int
    strength: float


class Guidance:
    """The wishes of one sample, checked.

    Args:
        config: of the model.
        alphabets: its symbols.
        reference: file beside the weights with the `moldiff.data.sizes.SizeTable`, if there is one.
        wishes: see `Wishes`.

    Raises:
        ValueError: for wishes that are unknown or cannot be met.
    """

    def __init__(
        self, config: ModelConfig, alphabets: Mapping[str, Alphabet], *, reference: Path | None, wishes: Wishes
    ) -> None:
        unknown = [name for name in wishes if name not in Wishes.__annotations__]
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}: choose from {', '.join(Wishes.__annotations__)}")
        self.config, self.alphabets = config, alphabets
        self.goal = Goal(
            config,
            wishes,
            rewards=lambda reward: Rewards(reward, config=config, alphabets=alphabets),
            sound=lambda state: valid_connected(state, alphabets),
        )
        self.target, self.particles = self.goal.target, self.goal.particles
        self.gradient = float(wishes.get("gradient", 0.0))
        check_scale(self.gradient)
        if self.gradient and not self.target:
            raise ValueError(f"gradient {self.gradient:g} needs a target to follow: say target, or leave gradient out")
        self.chemistry = Chemistry(
            alphabets,
            formula=wishes.get("formula"),
            elements=wishes.get("elements"),
            forbid=wishes.get("forbid"),
            require=wishes.get("require"),
            charge=wishes.get("charge"),
        )
        self.chemistry.learn(reference)
        self.size_weights = self._size_weights(reference)

    def _size_weights(self, reference: Path | None) -> Tensor | None:
        """Weights of the atom counts, without those too small for the constraints; None for the training set's."""
        weights = targets.size_weights(self.config, self.target, reference)
        least = self.chemistry.least_atoms
        if self.chemistry.formula is not None or not str(self.chemistry):
            return weights
        enough = torch.tensor([float(int(size) >= least) for size in self.config.sizes], dtype=torch.float64)
        known = torch.tensor([float(count) for count in self.config.sizes.values()], dtype=torch.float64)
        # the share of the training molecules of each size that satisfy the constraints, where any does
        fitting = Counter(self.chemistry.compositions.sum(1).tolist())
        share = torch.tensor([float(fitting[int(size)]) for size in self.config.sizes]) / known
        if weights is None:
            weights = known
        if float((weights * share).sum()) > 0:
            return weights * share
        weights = weights * enough
        if float(weights.sum()) <= 0:
            raise ValueError(f"the constraints need {least} atoms, more than this model's molecules have: say n_atoms")
        return weights

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the report."""
        return self.goal.notes(self.chemistry, more=f", gradient {self.gradient:g}" if self.gradient else "")

    @property
    def evaluations(self) -> int:
        """Network evaluations of a structure in one sampler step, a backward pass counted as two."""
        # a denoiser that is only ever told the target needs another to judge it
        slope = BACKWARD + (self.goal.weight == 1) if self.gradient else 0
        return self.goal.evaluations + self.particles * slope

    def _slope(
        self, denoiser: Denoiser, process: JointProcess, condition: Condition, *, head: Denoiser | None
    ) -> Denoiser:
        if not self.gradient:
            return denoiser
        gaussian = process.processes.get("positions")
        if not isinstance(gaussian, GaussianProcess):
            raise ValueError("gradient moves the positions of molecules, and this model has none: use guidance alone")
        return by_gradient(
            denoiser,
            gaussian,
            target=targets.standardised(self.config, condition.values),
            shown=condition.shown,
            scale=self.gradient,
            head=head,
        )

    def sizes(self, n_atoms: int | Sequence[int] | None) -> int | Sequence[int] | None:
        """Atom counts that follow from the wishes and what the user says of them; None leaves them to chance."""
        return self.chemistry.sizes(n_atoms)

    def draw(
        self,
        denoiser: Denoiser,
        process: JointProcess,
        *,
        state: State,
        generator: torch.Generator,
        config: SamplerConfig,
        callback: Callback | None = None,
        condition: Condition | None = None,
    ) -> State:
        """Draw the structures of one batch; arguments as for `moldiff.diffusion.sampler.sample`.

        `condition`: a target for each structure, instead of the same for all; only with a target, whose values then do
        not matter.
        """
        if condition is not None and not self.target:
            raise ValueError("targets of single structures need a target that names the properties")
        state, _ = self.goal.copies(state, {})
        guided, condition = self.goal.guide(denoiser, state, condition)
        if condition is not None:
            head = denoiser if self.goal.weight == 1 else None
            guided = self._slope(guided, process, condition, head=head)
        state, given = self.chemistry.give(state, generator=generator)
        return self.goal.draw(
            guided,
            process,
            plain=denoiser,
            state=state,
            generator=generator,
            config=config,
            given=given,
            condition=condition,
            constraints=self.chemistry.constraints(state.size, closed_shell=config.closed_shell),
            callback=callback,
        )
