"""What a sample is steered towards, resolved once a sample: the wishes of the user as tensors and wrapped denoisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import torch

from moldiff.config import ModelConfig, SamplerConfig
from moldiff.denoiser import Denoiser
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import Callback, sample
from moldiff.generator import targets
from moldiff.guidance.classifier_free import check_weight, classifier_free, evaluations
from moldiff.state import Alphabet, State


class Wishes(TypedDict, total=False):
    """What `Generator.sample`, `draw` and `stream` take beside the number of structures and the settings.

    Attributes:
        target: property -> value, see `Generator.properties`.
        guidance: weight of the target; 1 is plain conditional, more follows the target closer and varies less, and
            costs two network evaluations a step. 0 ignores it, but for the atom counts.
    """

    target: Mapping[str, float] | None
    guidance: float


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
        self.target = targets.check_target(config, wishes.get("target") or {})
        self.weight = float(wishes.get("guidance", 1.0))
        check_weight(self.weight)
        self.size_weights = targets.size_weights(config, self.target, reference)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the report."""
        if not self.target:
            return ()
        asked = ", ".join(f"{p.name} {self.target[p.name]:g} {p.unit}".strip() for p in self._asked())
        return (f"target: {asked}; guidance {self.weight:g}",)

    def _asked(self) -> list[targets.Property]:
        return [p for p in targets.properties(self.config) if p.name in self.target]

    @property
    def evaluations(self) -> int:
        """Network evaluations of a structure in one sampler step."""
        return evaluations(self.weight) if self.target else 1

    def sizes(self, n_atoms: int | Sequence[int] | None) -> int | Sequence[int] | None:
        """Atom counts that follow from the wishes and what the user says of them; None leaves them to chance."""
        return n_atoms

    def draw(
        self,
        denoiser: Denoiser,
        process: JointProcess,
        *,
        state: State,
        generator: torch.Generator,
        config: SamplerConfig,
        callback: Callback | None = None,
    ) -> State:
        """Draw the structures of one batch; arguments as for `moldiff.diffusion.sampler.sample`."""
        condition = None
        if self.target:
            denoiser = classifier_free(denoiser, self.weight)
            condition = targets.condition(self.config, self.target, len(state), state.device)
        return sample(
            denoiser,
            process,
            state=state,
            generator=generator,
            config=config,
            condition=condition,
            callback=callback,
        )
