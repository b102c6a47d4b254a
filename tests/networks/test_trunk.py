"""E(3) equivariance of the trunk and of the whole denoiser: rotation, reflection, translation, permutation, padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from e3nn import o3
from torch import Tensor

from moldiff.config import PRESETS, DiffusionConfig, NetworkConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.tasks import given_atoms
from moldiff.networks.layers import Atoms
from moldiff.networks.trunk import Trunk
from moldiff.state import Alphabet, State, centred

SIZES = (9, 4, 7, 2)
#: Time of every field of the four structures: nearly clean, in the middle, very noisy, pure noise.
TIMES = {
    "positions": (0.02, 0.45, 0.8, 1.0),
    "elements": (0.3, 0.5, 0.0, 0.7),
    "charges": (0.2, 0.6, 0.4, 1.0),
    "bonds": (0.1, 0.5, 0.6, 1.0),
}
CASES = ("plain", "previous", "given", "condition", "everything")
PRECISIONS = [pytest.param(torch.float32, 1e-5, id="float32"), pytest.param(torch.float64, 1e-10, id="float64")]


@dataclass
class Case:
    """All that a network is told."""

    state: State
    clocks: Clocks
    condition: Condition | None = None
    previous: Prediction | None = None


def axes(name: str) -> tuple[int, ...]:
    return (1, 2) if name == "bonds" else (1,)


def map_atoms(case: Case, function: Callable[[Tensor, tuple[int, ...]], Tensor]) -> Case:
    """A case with a function applied to every tensor along its axes of atoms."""
    state = State(**{n: function(getattr(case.state, n), axes(n)) for n in ("mask", *case.state.present)})
    given = {name: function(value, axes(name)) for name, value in case.clocks.given.items()}
    previous = None
    if case.previous is not None:
        names = ("positions", "elements", "charges", "bonds")
        previous = Prediction(**{name: function(getattr(case.previous, name), axes(name)) for name in names})
    return replace(case, state=state, clocks=Clocks(case.clocks.times, given), previous=previous)


def map_positions(case: Case, function: Callable[[Tensor], Tensor]) -> Case:
    """A case with the positions, and those of the previous guess, moved."""
    mask = case.state.mask[..., None]
    positions = torch.where(mask, function(case.state.field("positions")), 0.0)
    previous = case.previous
    if previous is not None and previous.positions is not None:
        previous = replace(previous, positions=torch.where(mask, function(previous.positions), 0.0))
    return replace(case, state=case.state.replace(positions=positions), previous=previous)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


def orthogonal(dtype: torch.dtype, *, improper: bool) -> Tensor:
    """A matrix of a rotation, or of one with a reflection, for row vectors: x @ matrix.T."""
    angles = torch.tensor([0.7, 1.9, -2.3], dtype=torch.float64)
    matrix = o3.angles_to_matrix(*angles)
    return (-matrix if improper else matrix).to(dtype)


@pytest.fixture
def make_case(random_state: Callable[..., State]) -> Callable[..., Case]:
    def make(kind: str, dtype: torch.dtype) -> Case:
        state = random_state(SIZES, dtype=dtype)
        generator = torch.Generator().manual_seed(5)
        level = torch.tensor([1.0, 1.0, 8.0, 40.0], dtype=dtype)[:, None, None]
        state = state.replace(positions=level * state.field("positions"))
        given: dict[str, Tensor] = {}
        if kind in ("given", "everything"):
            atoms = torch.zeros_like(state.mask)
            atoms[0, 2:5] = atoms[2, :1] = True  # some, none, one, all
            atoms[3] = state.mask[3]
            given = given_atoms(state, atoms)
            shown = {n: torch.where(given[n], 1, state.field(n)) for n in ("elements", "charges", "bonds")}
            state = state.replace(**shown)
        known = None if not given else given["positions"]
        state = state.replace(positions=centred(state.field("positions"), state.mask, known))
        case = Case(state, Clocks({name: torch.tensor(times) for name, times in TIMES.items()}, given))
        if kind in ("condition", "everything"):
            shown = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).bool()
            case.condition = Condition(torch.randn((4, 3), generator=generator), shown)
        if kind in ("previous", "everything"):
            logits = torch.randn((4, 9, 9, 5), generator=generator, dtype=dtype)
            # far from the input, so that the bound on its length acts too
            guess = state.field("positions") + torch.randn((4, 9, 3), generator=generator, dtype=dtype)
            case.previous = Prediction(
                positions=torch.where(state.mask[..., None], guess, 0.0),
                elements=torch.randn((4, 9, 4), generator=generator, dtype=dtype),
                charges=torch.randn((4, 9, 3), generator=generator, dtype=dtype),
                bonds=logits + logits.transpose(1, 2),
            )
        return case

    return make


Run = Callable[[Case], Prediction]


@pytest.fixture(params=["trunk", "denoiser"])
def make_run(
    request: pytest.FixtureRequest, make_trunk: Callable[..., Trunk], alphabets: dict[str, Alphabet]
) -> Callable[[torch.dtype], Run]:
    """The raw network with its preconditioning, and the whole denoiser."""

    def make(dtype: torch.dtype) -> Run:
        network, config = make_trunk(dtype=dtype), DiffusionConfig()
        gaussian = GaussianProcess(config.positions)
        whole = denoiser(network, JointProcess.for_molecules(config, alphabets))

        @torch.no_grad()
        def run(case: Case) -> Prediction:
            if request.param == "denoiser":
                return whole(case.state, case.clocks, case.condition, case.previous)
            scales = gaussian.preconditioning(case.state, case.clocks)
            return network(case.state, case.clocks, case.condition, case.previous, scales)

        return run

    make.whole = request.param == "denoiser"  # type: ignore[attr-defined]
    return make


def same_symbols(found: Prediction, expected: Prediction, tolerance: float) -> None:
    for name in ("elements", "charges", "bonds", "properties"):
        assert relative(getattr(found, name), getattr(expected, name)) < tolerance, name


@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "reflection"])
@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_positions_turn_and_symbols_stay(
    make_run: Callable[[torch.dtype], Run],
    make_case: Callable[..., Case],
    dtype: torch.dtype,
    tolerance: float,
    kind: str,
    improper: bool,
) -> None:
    run, case = make_run(dtype), make_case(kind, dtype)
    turn = o3.Irreps("1x1o").D_from_matrix(orthogonal(dtype, improper=improper))
    before, after = run(case), run(map_positions(case, lambda x: x @ turn.T))
    assert before.positions is not None and after.positions is not None
    for b in range(len(SIZES)):  # each structure by its own scale
        if before.positions[b].abs().max() > 0:
            assert relative(after.positions[b], before.positions[b] @ turn.T) < tolerance
    same_symbols(after, before, tolerance)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_translation_changes_nothing(
    make_run: Callable[[torch.dtype], Run],
    make_case: Callable[..., Case],
    dtype: torch.dtype,
    tolerance: float,
    kind: str,
) -> None:
    if make_run.whole and kind in ("given", "everything"):  # type: ignore[attr-defined]
        pytest.skip("with given atoms the origin of a State is their centroid, so it cannot be moved")
    run, case = make_run(dtype), make_case(kind, dtype)
    shift = torch.tensor([1.5, -2.0, 0.75], dtype=dtype)
    before, after = run(case), run(map_positions(case, lambda x: x + shift))
    assert relative(after.positions, before.positions) < tolerance
    same_symbols(after, before, tolerance)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_permuting_the_atoms_permutes_the_answer(
    make_run: Callable[[torch.dtype], Run],
    make_case: Callable[..., Case],
    dtype: torch.dtype,
    tolerance: float,
    kind: str,
) -> None:
    run, case = make_run(dtype), make_case(kind, dtype)
    order = torch.randperm(max(SIZES), generator=torch.Generator().manual_seed(1))

    def shuffle(value: Tensor, along: tuple[int, ...]) -> Tensor:
        for axis in along:
            value = value.index_select(axis, order)
        return value

    before, after = run(case), run(map_atoms(case, shuffle))
    mask = case.state.mask[:, order]
    pairs = mask[:, :, None] & mask[:, None, :]
    for name in ("positions", "elements", "charges"):
        expected = shuffle(getattr(before, name), (1,))
        assert relative(getattr(after, name)[mask], expected[mask]) < tolerance, name
    assert relative(after.bonds[pairs], shuffle(before.bonds, (1, 2))[pairs]) < tolerance
    assert relative(after.properties, before.properties) < tolerance


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_padding_changes_nothing_and_stays_zero(
    make_run: Callable[[torch.dtype], Run],
    make_case: Callable[..., Case],
    dtype: torch.dtype,
    tolerance: float,
    kind: str,
) -> None:
    run, case, n = make_run(dtype), make_case(kind, dtype), max(SIZES)

    def grow(value: Tensor, along: tuple[int, ...]) -> Tensor:
        for axis in along:
            shape = list(value.shape)
            shape[axis] = 4
            value = torch.cat([value, value.new_zeros(shape)], axis)
        return value

    before, after = run(case), run(map_atoms(case, grow))
    assert (after.positions[:, n:] == 0).all() and (before.positions[~case.state.mask] == 0).all()
    assert relative(after.positions[:, :n], before.positions) < tolerance
    cut = Prediction(
        elements=after.elements[:, :n],
        charges=after.charges[:, :n],
        bonds=after.bonds[:, :n, :n],
        properties=after.properties,
    )
    same_symbols(cut, before, tolerance)


def test_a_lone_atom_does_not_see_padding(make_trunk: Callable[..., Trunk], random_state: Callable[..., State]) -> None:
    network, gaussian = make_trunk(dtype=torch.float64), GaussianProcess(DiffusionConfig().positions)
    alone = random_state((1,), dtype=torch.float64)
    answers = []
    for state in (alone, alone.pad(5)):
        clocks = Clocks.shared(state, 0.5)
        answers.append(network(state, clocks, None, None, gaussian.preconditioning(state, clocks)))
    assert torch.allclose(answers[1].elements[:, :1], answers[0].elements, rtol=1e-12)
    assert torch.isfinite(answers[1].bonds).all()


def test_the_answer_depends_on_what_the_network_is_told(
    make_trunk: Callable[..., Trunk], make_case: Callable[..., Case]
) -> None:
    """An invariance test alone would be passed by a network that ignores its inputs."""
    network, gaussian = make_trunk(), GaussianProcess(DiffusionConfig().positions)

    def run(case: Case) -> Prediction:
        scales = gaussian.preconditioning(case.state, case.clocks)
        return network(case.state, case.clocks, case.condition, case.previous, scales)

    full = make_case("everything", torch.float32)
    times = {name: torch.full((4,), 0.5) for name in TIMES}
    for change in (
        replace(full, condition=None),
        replace(full, previous=None),
        replace(full, clocks=Clocks(full.clocks.times)),
        replace(full, clocks=Clocks({**times, "bonds": torch.ones(4)}, full.clocks.given)),
        map_positions(full, lambda x: 1.01 * x),
        map_positions(full, lambda x: x * torch.tensor([1.0, 1.0, 1.02])),
        replace(full, state=full.state.replace(elements=torch.where(full.state.mask, 2, 0))),
    ):
        assert relative(run(change).elements, run(full).elements) > 1e-4
        assert relative(run(change).positions, run(full).positions) > 1e-4


def test_features_inside_are_the_declared_irreps(
    make_trunk: Callable[..., Trunk], make_case: Callable[..., Case], tiny: NetworkConfig
) -> None:
    """After every block h is C x 0e, v is V x 1o, the pairs are P x 0e and the displacement is 1o."""
    network, gaussian = make_trunk(dtype=torch.float64), GaussianProcess(DiffusionConfig().positions)
    seen: list[Atoms] = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    case = make_case("everything", torch.float64)
    # e3nn goes through angles in single precision: D is exactly orthogonal, but not exactly the matrix asked for
    matrix = o3.Irreps("1x1o").D_from_matrix(orthogonal(torch.float64, improper=True))
    assert torch.allclose(matrix, orthogonal(torch.float64, improper=True), atol=1e-6)
    for moved in (case, map_positions(case, lambda x: x @ matrix.T)):
        scales = gaussian.preconditioning(moved.state, moved.clocks)
        network(moved.state, moved.clocks, moved.condition, moved.previous, scales)
    scalars = o3.Irreps(f"{tiny.scalars}x0e").D_from_matrix(matrix)
    vectors = o3.Irreps(f"{tiny.vectors}x1o").D_from_matrix(orthogonal(torch.float64, improper=True))
    real = case.state.mask
    assert len(seen) == 2 * tiny.blocks
    for before, after in zip(seen[: tiny.blocks], seen[tiny.blocks :], strict=True):
        flat = [atoms.v.transpose(2, 3).flatten(2)[real] for atoms in (before, after)]  # channel by channel, xyz within
        assert flat[0].abs().max() > 0.1
        assert relative(flat[1], flat[0] @ vectors.T) < 1e-10
        assert relative(after.h[real], before.h[real] @ scalars.T) < 1e-10
        assert relative(after.e[case.state.pair_mask], before.e[case.state.pair_mask]) < 1e-10
        assert relative(after.u[real], before.u[real] @ matrix.T) < 1e-10


def test_untrained_network_starts_at_zero(
    tiny: NetworkConfig, alphabets: dict[str, Alphabet], random_state: Callable[..., State]
) -> None:
    """Residual outputs and heads are zero-initialised: the first prediction is no displacement and equal odds."""
    network, state = Trunk(tiny, alphabets, properties=2), random_state((5, 3))
    clocks = Clocks.shared(state, 0.6)
    scales = GaussianProcess(DiffusionConfig().positions).preconditioning(state, clocks)
    prediction = network(state, clocks, None, None, scales)
    for name in ("positions", "elements", "charges", "bonds", "properties"):
        assert (getattr(prediction, name) == 0).all(), name
    assert prediction.properties.shape == (2, 2)


def test_gradients_are_finite_where_atoms_coincide(
    make_trunk: Callable[..., Trunk], random_state: Callable[..., State]
) -> None:
    network, state = make_trunk(), random_state((5, 3))
    state = state.replace(positions=torch.zeros_like(state.positions).requires_grad_())
    clocks = Clocks.shared(state, 0.5)
    previous = Prediction(positions=torch.zeros_like(state.positions))
    scales = GaussianProcess(DiffusionConfig().positions).preconditioning(state, clocks)
    prediction = network(state, clocks, None, previous, scales)
    (prediction.positions.square().sum() + prediction.bonds.square().sum()).backward()
    assert torch.isfinite(state.positions.grad).all()
    for parameter in network.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def test_bf16_autocast_keeps_bonds_symmetric_and_geometry_in_float32(
    make_trunk: Callable[..., Trunk], make_case: Callable[..., Case], alphabets: dict[str, Alphabet]
) -> None:
    network, case = make_trunk(), make_case("everything", torch.float32)
    whole = denoiser(network, JointProcess.for_molecules(DiffusionConfig(), alphabets))
    exact = whole(case.state, case.clocks, case.condition, case.previous)
    with torch.autocast("cpu", torch.bfloat16):
        rough = whole(case.state, case.clocks, case.condition, case.previous)
    assert rough.positions.dtype == torch.float32
    assert torch.equal(rough.bonds, rough.bonds.transpose(1, 2))
    assert relative(rough.elements.float(), exact.elements) < 0.1
    assert relative(rough.positions, exact.positions) < 0.05


def test_presets_have_the_promised_sizes(alphabets: dict[str, Alphabet]) -> None:
    counts = {
        name: sum(parameter.numel() for parameter in Trunk(config, alphabets, properties=6).parameters())
        for name, config in PRESETS.items()
    }
    assert 4e6 < counts["s"] < 5e6
    assert 7e6 < counts["m"] < 9e6
    assert counts["s"] * 2 < 16e6  # float16 weights fit the 16 MB of a shipped file
