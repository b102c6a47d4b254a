"""A perfect pupil of a teacher that takes its steps at once is the teacher."""

from __future__ import annotations

import pytest
import torch
from pupil import perfect

from moldiff.config import DiffusionConfig, NetworkConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import sample
from moldiff.generator.generator import blank_state
from moldiff.networks.trunk import Trunk
from moldiff.state import Alphabet, State

ALPHABETS = {
    "elements": Alphabet(("H", "C")),
    "charges": Alphabet(("0", "1")),
    "bonds": Alphabet(("none", "single")),
}
SAMPLER = SamplerConfig(steps=10, density=2.5, last=0.28, churn=0.2, redraw=2)


@pytest.fixture
def teacher(one_thread: None) -> tuple[Denoiser, JointProcess]:
    config = NetworkConfig(scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=2, products=2, blocks=1, condition=8)
    network = Trunk(config, ALPHABETS)
    with torch.no_grad():
        for number, value in enumerate(network.parameters()):
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
    process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=SAMPLER)
    return denoiser(network, process), process


def test_with_one_evaluation_a_step_it_draws_what_the_teacher_draws(teacher: tuple[Denoiser, JointProcess]) -> None:
    model, process = teacher
    asked = []

    def counted(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        asked.append(state)
        return model(state, clocks, condition, previous)

    drawn = [
        sample(
            guess,
            process,
            state=blank_state(torch.tensor([3, 5])),
            generator=torch.Generator().manual_seed(0),
            config=SAMPLER,
        )
        for guess in (model, perfect(counted, process, SAMPLER, substeps=1))
    ]
    assert torch.allclose(drawn[0].positions, drawn[1].positions, atol=1e-4)
    assert torch.equal(drawn[0].elements, drawn[1].elements) and torch.equal(drawn[0].bonds, drawn[1].bonds)
    assert len(asked) == 10

    asked.clear()
    sample(
        perfect(counted, process, SAMPLER, substeps=3),
        process,
        state=blank_state(torch.tensor([3, 5])),
        generator=torch.Generator().manual_seed(0),
        config=SAMPLER,
    )
    assert len(asked) == 8 * 3 + 2  # what is drawn anew at the end is asked for once
