"""Target and reward of a sample, which molecules and crystals have alike: wrapped denoisers and a callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from moldiff.config import ModelConfig, SamplerConfig
from moldiff.denoiser import Condition, Denoiser
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import Callback, Step, sample
from moldiff.generator import targets
from moldiff.generator.rewards import Rewards
from moldiff.generator.threads import go_on
from moldiff.guidance.classifier_free import check_weight, classifier_free, evaluations
from moldiff.guidance.closeness import closeness
from moldiff.guidance.constraints import Constrained, Constraints
from moldiff.guidance.steering import Reward, Sound, Steering
from moldiff.state import State

#: The name of the reward that is closeness to the target, see `moldiff.guidance.closeness`.
TARGET = "target"


@final
class Goal:
    """The wishes ``target``, ``guidance``, ``reward``, ``particles`` and ``strength`` of one sample, checked.

    Args:
        config: of the model.
        wishes: by name; others are left alone.
        rewards: what the reward of the wishes is as a function of States; not asked for `TARGET`.
        sound: finished structures that may be kept where the reward is `TARGET`, which does not tell; all by default.

    Raises:
        ValueError: for wishes that are unknown or make no sense.
    """

    def __init__(
        self,
        config: ModelConfig,
        wishes: Mapping[str, Any],
        *,
        rewards: Callable[[Any], Rewards],
        sound: Sound | None = None,
    ) -> None:
        self.config, self.sound = config, sound
        self.target = targets.check_target(config, wishes.get("target") or {})
        self.weight = float(wishes.get("guidance", 1.0))
        check_weight(self.weight)
        reward, self.particles = wishes.get("reward"), 1
        self.rewards: Rewards | None = None
        self.by_target = isinstance(reward, str) and reward == TARGET
        self.strength = float(wishes.get("strength", 1.0))
        if reward is not None:
            if self.by_target:
                self._check_numbers()
            else:
                self.rewards = rewards(reward)
            self.particles = wishes.get("particles", 4)
            # refuses senseless settings now and not in the first batch
            self._steering(lambda state: torch.zeros(len(state)), torch.Generator())

    def _check_numbers(self) -> None:
        if not self.target:
            raise ValueError(f"the reward {TARGET!r} is closeness to a target: say target, or choose another reward")
        classes = [p.name for p in self.config.properties if p.name in self.target and p.classes]
        if classes:
            raise ValueError(
                f"{classes[0]} is a class, and the reward {TARGET!r} is of numbers: leave it out or choose another one"
            )

    @property
    def alone(self) -> bool:
        """Whether batches are drawn one after the other, as a reward may need that knows of no threads."""
        return self.rewards is not None

    @property
    def steered(self) -> bool:
        """Whether particles compete."""
        return self.rewards is not None or self.by_target

    def _steering(self, reward: Reward, generator: torch.Generator) -> Steering:
        sound = self.sound if self.by_target else None
        return Steering(reward, particles=self.particles, strength=self.strength, generator=generator, sound=sound)

    def notes(self, constraints: object, *, more: str = "") -> tuple[str, ...]:
        """Lines for the report.

        Args:
            constraints: what holds in every structure, empty as a text for nothing.
            more: how else the target is followed.
        """
        lines = []
        if self.target:
            units = {p.name: p.unit for p in self.config.properties}
            asked = ", ".join(f"{name} {value:g} {units[name]}".strip() for name, value in self.target.items())
            lines.append(f"target: {asked}; guidance {self.weight:g}{more}")
        if str(constraints):
            lines.append(f"constraints: {constraints}")
        if self.steered:
            reward = str(self.rewards) if self.rewards is not None else f"reward {TARGET}"
            lines.append(f"{reward}; {self.particles} particles, strength {self.strength:g}")
        return tuple(lines)

    @property
    def evaluations(self) -> int:
        """Network evaluations of a structure in one sampler step.

        Closeness to the target costs an evaluation of each particle more in about every third step in the middle.
        """
        return self.particles * (evaluations(self.weight) if self.target else 1)

    def copies(self, state: State, given: Mapping[str, Tensor]) -> tuple[State, dict[str, Tensor]]:
        """The state and masks of what is given with each structure as often as it has particles."""
        if not self.steered:
            return state, dict(given)
        rows = self._rows(len(state), state.device)
        return state.index(rows), {name: mask[rows] for name, mask in given.items()}

    def _rows(self, count: int, device: torch.device) -> Tensor:
        return torch.arange(count, device=device).repeat_interleave(self.particles)

    def guide(
        self, denoiser: Denoiser, state: State, condition: Condition | None = None
    ) -> tuple[Denoiser, Condition | None]:
        """The denoiser led to the target, and what it is told.

        Args:
            denoiser: what to wrap.
            state: of `copies`.
            condition: a target for each structure before `copies`, instead of the same for all.
        """
        if not self.target:
            return denoiser, None
        if condition is None:
            condition = targets.condition(self.config, self.target, len(state), state.device)
        elif self.steered:
            condition = condition.index(self._rows(len(condition.values), state.device))
        return classifier_free(denoiser, self.weight), condition

    def draw(
        self,
        denoiser: Denoiser,
        process: JointProcess,
        *,
        plain: Denoiser,
        state: State,
        generator: torch.Generator,
        config: SamplerConfig,
        given: Mapping[str, Tensor],
        condition: Condition | None,
        constraints: Constraints,
        callback: Callback | None,
    ) -> State:
        """Draw a batch under constraints and the reward; other arguments as for `moldiff.diffusion.sampler.sample`.

        Args:
            plain: the denoiser without guidance, whose property head judges closeness to the target.
            state: of `copies`; one structure of its particles comes back.
            constraints: hold in every structure.
        """
        steering: Steering | None = None
        callbacks: list[Callback] = [go_on]
        if constraints:
            constrained = Constrained(denoiser, constraints, generator=generator, temperature=config.temperature)
            denoiser = constrained
            callbacks.append(constrained.restore)
        if self.steered:
            # on the CPU, where the rewards are
            seeded = torch.Generator().manual_seed(generator.initial_seed())
            steering = self._steering(self.rewards or self._closeness(plain, condition), seeded)
            callbacks.append(steering)
        if callback is not None:
            callbacks.append(callback)
        done = sample(
            denoiser,
            process,
            state=state,
            generator=generator,
            config=config,
            given=given,
            condition=condition,
            callback=chain(callbacks),
        )
        return done if steering is None else done.index(steering.choose().to(done.device))

    def _closeness(self, plain: Denoiser, condition: Condition | None) -> Reward:
        if condition is None:
            raise ValueError(f"the reward {TARGET!r} needs to be told the target of each structure")
        values = targets.standardised(self.config, condition.values)
        return closeness(plain, target=values, shown=condition.shown)


def chain(callbacks: Sequence[Callback]) -> Callback:
    """One callback of several, each of which sees what those before it made of the step."""

    def run(step: Step) -> Step:
        for callback in callbacks:
            step = callback(step) or step
        return step

    return run
