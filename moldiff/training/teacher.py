"""Learning from a trained model: its predictions are targets beside the data, free of the noise of single structures.

So a network of another size soon becomes nearly as good as one that was trained for long (Hinton et al. 2015). What the
data say of a noisy structure is one clean structure of many that it may come from; a teacher says their mean, and how
likely each symbol is. A share of the loss stays with the data, which the teacher knows only so well.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch
from torch import Tensor

from moldiff.config import ModelConfig, TrainConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.networks.trunk import Trunk
from moldiff.networks.weights import alphabets, load
from moldiff.state import State
from moldiff.training.distillation import EMPHASIS, Distillation, Start

#: Evaluations of a teacher for a step of its pupil's sampler.
SUBSTEPS = 3


@final
class Teacher:
    """A trained model of molecules whose predictions are learned.

    Args:
        network: the trained network.
        process: its joint process, which must be that of the run.
        share: of the loss that is towards its predictions; the rest is towards the data.
        distillation: the pupil's steps, if it is to make larger ones; else it learns the predictions as they are.
        about: which weights these are.
    """

    def __init__(
        self,
        network: Trunk,
        process: JointProcess,
        *,
        share: float,
        distillation: Distillation | None = None,
        about: str = "",
    ) -> None:
        self.network, self.process, self.share = network.eval().requires_grad_(False), process, share
        self.denoiser, self.distillation, self.about = denoiser(network, process), distillation, about

    @staticmethod
    def load(path: Path, model: ModelConfig, *, config: TrainConfig, device: torch.device) -> Teacher:
        """The teacher of a run.

        Args:
            path: its weights.
            model: what is trained.
            config: settings of the run. With `distil` the steps of the model's sampler are learned, and nothing from
                the data: they say where a structure comes from, not where a long step leads.
            device: where the run is.

        Raises:
            ValueError: if it makes crystals, or its symbols, properties or processes are not those of the model.
        """
        network, own = load(path)
        if own.kind != "molecule" or model.kind != "molecule":
            raise ValueError(f"{path} cannot teach {model.kind}s: only models of molecules can, and only such")
        for name in ("alphabets", "properties", "diffusion"):
            if getattr(own, name) != getattr(model, name):
                raise ValueError(
                    f"{path} cannot teach this run: its {name} differ; start the run with --init-from a model of the "
                    "same data"
                )
        process = JointProcess.for_molecules(own.diffusion, alphabets(own))
        network = network.to(device)
        # a name may come to mean other weights
        about = f"{Path(config.teacher or path).name} after {own.facts.get('passes', '?')} passes"
        if config.distil is None:
            return Teacher(network, process, share=config.teacher_share, about=about)
        steps = Distillation(process, model.sampler, substeps=SUBSTEPS)
        return Teacher(network, process, share=1.0, distillation=steps, about=about)

    def begin(self, noisy: State, clocks: Clocks, *, generator: torch.Generator) -> Start:
        """What the pupil is to see of a noisy batch: the batch itself, or the start of a step of its sampler."""
        if self.distillation is None:
            return Start(noisy, clocks, clocks.time("positions", noisy))
        return self.distillation.begin(noisy, clocks, generator=generator)

    @torch.no_grad()
    def __call__(
        self, start: Start, condition: Condition | None, previous: Prediction | None, *, generator: torch.Generator
    ) -> Prediction:
        """What the teacher makes of what its pupil sees, the pupil's own guess before included."""
        if self.distillation is None:
            return self.denoiser(start.noisy, start.clocks, condition, previous).detach()
        return self.distillation.walk(self.denoiser, start, condition, previous, generator=generator).detach()

    def blend(
        self,
        found: dict[str, Tensor],
        prediction: Prediction,
        told: Prediction,
        truth: State,
        noisy: State,
        clocks: Clocks,
    ) -> dict[str, Tensor]:
        """Losses (B,) of the fields towards data and teacher.

        Positions: the squared error to the teacher's clean guess, weighted as that to the data. Symbols: the
        Kullback-Leibler divergence of the pupil's probabilities from the teacher's, a mean over the hidden ones, in
        distillation times `EMPHASIS`.

        Args:
            found: losses towards the data.
            prediction, told: of the pupil and of the teacher.
            truth, noisy, clocks: the structures, clean and noisy.
        """
        taught: dict[str, Tensor] = {}
        for name, process in self.process.processes.items():
            if isinstance(process, CategoricalProcess):
                weight = 1.0 if self.distillation is None else EMPHASIS.get(name, 1.0)
                taught[name] = weight * process.divergence(prediction, told, noisy, clocks)
            else:
                guessed = truth.replace(**{name: getattr(told, name)})
                taught[name] = process.loss(prediction, guessed, noisy, clocks)
        return {name: (1 - self.share) * found[name] + self.share * taught[name] for name in found}
