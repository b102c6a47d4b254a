from __future__ import annotations

from collections.abc import Callable

import torch

from moldiff.config import GaussianConfig, NetworkConfig
from moldiff.denoiser import Clocks, Prediction
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.networks.layers import directions
from moldiff.networks.pairs import AtomFeatures, PairFeatures, Pairs, symbols_and_guess
from moldiff.state import Alphabet, State


def test_symbols_have_a_slot_for_hidden_and_probabilities_of_the_guess() -> None:
    code = symbols_and_guess(torch.tensor([[0, 2, 3]]), None, 3)
    assert code.shape == (1, 3, 7)
    assert code[0, :, :4].argmax(-1).tolist() == [0, 2, 3] and (code[..., 4:] == 0).all()
    guess = torch.tensor([[[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, -99.0, 0.0]]])
    probable = symbols_and_guess(torch.tensor([[0, 2, 3]]), guess, 3)[..., 4:]
    assert torch.allclose(probable, guess.softmax(-1)) and torch.allclose(probable.sum(-1), torch.ones(1, 3))


def test_pair_features_are_symmetric_and_see_what_is_given(
    tiny: NetworkConfig, alphabets: dict[str, Alphabet], random_state: Callable[..., State]
) -> None:
    torch.manual_seed(0)
    pairs, atoms, state = PairFeatures(tiny, alphabets), AtomFeatures(tiny, alphabets), random_state((6, 4))
    gaussian = GaussianProcess(GaussianConfig())

    def features(clocks: Clocks, previous: Prediction | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        squared = directions(state.field("positions"))[1]
        scales = gaussian.preconditioning(state, clocks)
        return atoms(state, clocks, previous), pairs(Pairs.of(state, clocks, previous, squared, None, scales))

    plain = Clocks.shared(state, 0.5)
    h, e = features(plain)
    assert torch.allclose(e, e.transpose(1, 2), atol=1e-6)
    first = torch.zeros_like(state.mask)
    first[:, :2] = True
    h_given, e_given = features(Clocks(plain.times, {"positions": first}))
    assert not torch.allclose(h_given[:, 0], h[:, 0]) and torch.allclose(h_given[:, 2:], h[:, 2:])
    changed = (e_given - e).abs().amax(-1) > 1e-6
    assert changed[:, :2, :2].all() and not changed[:, 2:].any() and not changed[:, :, 2:].any()
