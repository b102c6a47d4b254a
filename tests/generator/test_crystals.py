"""The Generator of crystals on an untrained network: what must hold by construction."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import moldiff
from moldiff.config import NetworkConfig
from moldiff.data.demo_crystals import demo_crystal_archive
from moldiff.generator import CrystalGenerator, Crystals
from moldiff.generator.export import to_crystals
from moldiff.networks import weights
from moldiff.training.describe import describe_model

TINY = NetworkConfig(
    scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=2, products=2, blocks=1, condition=8, radial=4
)
SALT = bulk("NaCl", "rocksalt", a=5.64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CrystalGenerator:
    config = dataclasses.replace(describe_model(demo_crystal_archive(), data="demo"), network=TINY)
    network = weights.build(config)
    path = weights.save(
        tmp_path_factory.mktemp("crystals") / "model.safetensors", config, tensors=dict(network.state_dict())
    )
    generator = moldiff.load(path, device="cpu")
    assert isinstance(generator, CrystalGenerator)
    # an untrained model, drawn as it predicts: sharpened it would make the same crystal over and over
    generator.sampler = dataclasses.replace(generator.sampler, steps=3, remask=10.0, temperature=1.0)
    return generator


def everything(crystals: Crystals) -> list[Any]:
    """All that was drawn, valid or not."""
    return [*crystals, *(failed.mol for failed in crystals.failed)]


def test_a_sample_is_the_same_again_and_counts_everything(model: CrystalGenerator) -> None:
    one, two = (model.sample(12, seed=3, batch_size=5, progress=False) for _ in range(2))
    assert one.report.drawn == 12 == len(one) + len(one.failed)
    assert [atoms.info["name"] for atoms in one] == [atoms.info["name"] for atoms in two]
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.positions, b.positions) and np.array_equal(a.numbers, b.numbers)
        assert a.pbc.all() and a.cell.volume > 0
        scaled = a.get_scaled_positions(wrap=False)
        assert scaled.min() > -1e-9 and scaled.max() < 1 + 1e-9
    assert one.report.rates["structure_valid"]["of"] == 12
    assert "crystals/s" in str(one.report)


def test_states_and_streams_give_the_same_crystals(model: CrystalGenerator) -> None:
    state = model.draw(6, seed=1)
    drawn = sorted(model.stream(6, seed=1), key=lambda item: item.number)
    for arrays, item in zip(to_crystals(state, model.alphabets), drawn, strict=True):
        assert np.array_equal(arrays.numbers, item.arrays.numbers)
        assert np.allclose(arrays.cell, item.arrays.cell)


def test_compositions_and_systems_are_met_by_every_crystal(model: CrystalGenerator) -> None:
    for atoms in everything(model.sample(8, composition="NaCl", formula_units=(1, 2))):
        assert atoms.get_chemical_formula("reduce") in ("NaCl", "Na2Cl2", "ClNa") or set(atoms.symbols) == {"Na", "Cl"}
        assert list(atoms.symbols).count("Na") == list(atoms.symbols).count("Cl")
    for atoms in everything(model.sample(8, chemical_system="Li-Ti-O")):
        assert set(atoms.symbols) == {"Li", "Ti", "O"}
    for atoms in everything(model.sample(6, elements=["Na", "Cl"])):
        assert set(atoms.symbols) <= {"Na", "Cl"}
    for atoms in everything(model.sample(6, forbid="O,F", require="Na")):
        assert not set(atoms.symbols) & {"O", "F"} and "Na" in atoms.symbols
    assert {len(atoms) for atoms in everything(model.sample(4, n_atoms=5))} == {5}


def test_targets(model: CrystalGenerator) -> None:
    assert [p.name for p in model.properties] == ["spacegroup"]
    sample = model.sample(3, target={"spacegroup": 225}, guidance=2.0)
    assert sample.report.evaluations == 6
    assert sample.report.notes[0] == "target: spacegroup 225; guidance 2"
    for value in (0, 231, 1.5):
        with pytest.raises(ValueError, match="spacegroup must be a whole number from 1 to 230"):
            model.sample(1, target={"spacegroup": value})


def test_atom_counts_go_with_the_target(model: CrystalGenerator) -> None:
    from moldiff.data.sizes import SizeTable

    assert model.path is not None
    reference = model.path.parent / "reference.npz"
    np.savez(reference, data=np.array("demo"))
    SizeTable.of(demo_crystal_archive()).add_to(reference)
    try:
        sizes = [len(atoms) for atoms in everything(model.sample(40, steps=1, target={"spacegroup": 136}))]
        assert sizes.count(6) > 20  # rutile; one in twenty without a target
    finally:
        reference.unlink()


def test_a_seed_keeps_its_sites_and_its_cell(model: CrystalGenerator) -> None:
    done = model.complete(SALT, n=6, n_new=(1, 2), seed=1)
    assert done.report.drawn == 6
    for atoms in everything(done):
        assert list(atoms.symbols)[:2] == ["Na", "Cl"] and len(atoms) in (3, 4)
    for atoms in done:
        assert np.array_equal(atoms.positions[:2], SALT.positions)
        assert np.array_equal(atoms.cell, SALT.cell)
        assert atoms.info["kept"] == "0 1"
    loose = model.complete(SALT, keep=[1], n_new=1, keep_cell=False, n=2)
    named = model.complete(SALT, keep="Cl", n_new=1, keep_cell=False, n=2)
    assert [atoms.positions.tolist() for atoms in named] == [atoms.positions.tolist() for atoms in loose]
    for atoms in loose:
        assert atoms.symbols[0] == "Cl" and atoms.info["kept"] == "1"
        assert np.allclose(atoms.get_scaled_positions()[0] % 1, SALT.get_scaled_positions()[1])


def test_substitution_keeps_every_place(model: CrystalGenerator) -> None:
    for atoms in model.complete(SALT, substitute="all", elements="K,Br", n=4):
        assert set(atoms.symbols) <= {"K", "Br"}
        assert np.allclose(atoms.positions, SALT.positions) and np.array_equal(atoms.cell, SALT.cell)
    for atoms in model.complete(SALT, substitute=[0], chemical_system="K-Cl", n=4):
        assert list(atoms.symbols) == ["K", "Cl"]
    for atoms in model.complete(SALT, substitute="Cl", forbid="Cl", n=4):
        assert atoms.symbols[0] == "Na" and atoms.symbols[1] != "Cl"
    strange = bulk("UO", "rocksalt", a=4.9)
    assert "U" not in model.complete(strange, substitute=[0], n=1)[0].symbols


def test_a_file_can_be_the_seed(model: CrystalGenerator, tmp_path: Path) -> None:
    moldiff.write([SALT], tmp_path / "seed.cif")
    assert len(model.complete(tmp_path / "seed.cif", substitute="all", n=2).report.reasons) >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": [2]}, "keep .2.: give indices between 0 and 1"),
        ({"substitute": "some"}, "give indices of sites, elements as .Na,Cl., or .all.; the crystal has Na, Cl"),
        ({"keep": "K"}, "keep 'K': give indices of sites, elements as .Na,Cl.; the crystal has Na, Cl"),
        ({"substitute": "all", "keep": [0]}, "leave keep and keep_cell out"),
        ({"n_new": 0}, "n_new 0"),
        ({"n_new": 5}, "2 kept and 5 new sites are more than the 6"),
        ({"composition": "NaCl"}, "composition says every element"),
        ({"chemical_system": "Li-O"}, "chemical_system Li-O lacks Na, Cl, which is kept"),
        ({"charge": 1}, "unknown option 'charge' for crystals"),
        ({"elements": "K", "chemical_system": "Na-Cl"}, "elements has K"),
    ],
)
def test_bad_completions_are_refused(model: CrystalGenerator, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.complete(SALT, **change)


def test_bad_crystals_and_numbers_are_refused(model: CrystalGenerator) -> None:
    bad = SALT.copy()
    bad.positions[0] = np.nan
    for atoms, message in (
        (bad, "not finite"),
        (Atoms("NaCl", positions=[[0, 0, 0], [1, 1, 1]]), "no volume"),
        (bulk("UO", "rocksalt", a=4.9), "element 'U' is unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            model.complete(atoms)
    with pytest.raises(ValueError, match="7 atoms are more than the 6"):
        model.sample(2, n_atoms=7)
    with pytest.raises(ValueError, match="whole number of at least 1"):
        model.sample(0)
    with pytest.raises(ValueError, match="batch_size"):
        model.sample(1, batch_size=0)


def test_invalid_crystals_are_counted_with_their_reason(model: CrystalGenerator) -> None:
    class Collapse:
        """Draws everything at one place."""

        def __init__(self, generator: CrystalGenerator) -> None:
            self.network = generator.network

        def __call__(self, state: Any, *rest: Any) -> Any:
            raw = self.network(state, *rest)
            t = rest[0].time("fractional", state).clamp_min(1e-3)[:, None, None]
            half = state.fractional - 0.5
            return dataclasses.replace(raw, tangent=(half - half.round()) / t)

    broken = CrystalGenerator(Collapse(model), model.config, device="cpu")
    sample = broken.sample(4, n_atoms=4, steps=4)
    assert len(sample) == 0 and sample.report.reasons == {"overlap": 4}
    assert sample.failed[0].reason == "overlap" and "angstrom apart" in sample.failed[0].message


def test_fill_goes_on_until_enough_are_valid(model: CrystalGenerator) -> None:
    sizes = [2, 4, 5, 6] * 3
    sample = model.sample(12, n_atoms=sizes, fill=True, steps=1)
    assert len(sample) == 12 <= sample.report.drawn
    with pytest.raises(ValueError, match="or 12 of them, not 3"):
        model.sample(12, n_atoms=[2, 3, 4])


def test_drawing_needs_no_chemistry(model: CrystalGenerator) -> None:
    state = model.draw(2, composition="NaCl", n_atoms=2)
    assert torch.isfinite(state.field("fractional")).all() and state.size == 2


def test_a_reward_on_atoms_steers(model: CrystalGenerator) -> None:
    def light(crystals: list[Atoms]) -> list[float]:
        return [-float(atoms.numbers.mean()) for atoms in crystals]

    plain = model.sample(12, steps=10, n_atoms=3)
    steered = model.sample(12, steps=10, n_atoms=3, reward=light, particles=4, strength=1.0)
    assert steered.report.drawn == 12 and steered.report.evaluations == 40
    assert "reward light; 4 particles, strength 1" in steered.report.notes
    assert np.mean(light(steered)) > np.mean(light(plain)) + 3
    for atoms in everything(model.sample(4, composition="NaCl", reward=light, particles=2)):
        assert list(atoms.symbols).count("Na") == list(atoms.symbols).count("Cl")
    variants = model.complete(SALT, substitute=[1], reward=light, particles=2, n=4)
    assert {atoms.symbols[0] for atoms in everything(variants)} == {"Na"} and variants.report.evaluations == 6
    with pytest.raises(ValueError, match=r"function of a list of ase\.Atoms or a name, not 3"):
        model.sample(1, reward=3)  # type: ignore[arg-type]


def test_a_reward_by_name_steers(model: CrystalGenerator) -> None:
    plain = model.sample(10, steps=6, n_atoms=3)
    steered = model.sample(10, steps=6, n_atoms=3, reward="smact", particles=4, strength=3.0)
    pytest.importorskip("smact")
    assert "reward smact; 4 particles, strength 3" in steered.report.notes
    balanced = [sample.report.rates["composition_valid"]["n"] for sample in (plain, steered)]
    assert balanced[1] > balanced[0]


def test_a_trajectory_ends_in_the_crystal_that_it_led_to(model: CrystalGenerator) -> None:
    movie = model.trajectory(seed=3, steps=5, n_atoms=3, composition="NaCl2")
    assert len(movie.states) == 5
    assert sorted(movie.states[-1].numbers.tolist()) == [11, 17, 17]
    if movie.structure is not None:
        assert sorted(movie.structure.numbers.tolist()) == [11, 17, 17]
    again = model.trajectory(seed=3, steps=5, n_atoms=3, composition="NaCl2")
    assert np.array_equal(again.states[-1].positions, movie.states[-1].positions)
