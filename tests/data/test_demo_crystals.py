from __future__ import annotations

import numpy as np
import pytest

from moldiff.crystals.reduction import space_group
from moldiff.crystals.validity import check
from moldiff.data.demo_crystals import PROTOTYPES, demo_crystal_archive, prototype, prototype_names

EXAMPLES = {
    "rocksalt": ["Na", "Cl"],
    "cesiumchloride": ["K", "Cl"],
    "zincblende": ["Zn", "S"],
    "wurtzite": ["Zn", "O"],
    "fluorite": ["Ca", "F"],
    "rutile": ["Ti", "O"],
    "perovskite": ["Sr", "Ti", "O"],
    "heusler": ["Co", "Mn", "Ga"],
    "fcc": ["Cu"],
    "bcc": ["Fe"],
    "hcp": ["Mg"],
    "diamond": ["Si"],
}


@pytest.mark.parametrize("kind", PROTOTYPES)
def test_every_type_has_its_space_group(kind: str) -> None:
    crystal = prototype(kind, EXAMPLES[kind])
    assert space_group(crystal, tolerance=1e-4) == PROTOTYPES[kind]
    assert check(crystal.numbers, crystal.fractional, crystal.cell).valid


def test_lattice_constants_are_near_the_real_ones() -> None:
    salt = prototype("rocksalt", ["Na", "Cl"])
    assert (4 * salt.volume) ** (1 / 3) == pytest.approx(5.64, rel=0.02)
    copper = prototype("fcc", ["Cu"])
    assert (4 * copper.volume) ** (1 / 3) == pytest.approx(3.61, rel=0.02)


def test_the_set_is_the_same_again_and_of_different_crystals() -> None:
    names = prototype_names()
    assert len(names) == len(set(names)) > 300
    archive, again = demo_crystal_archive(40), demo_crystal_archive(40)
    assert np.array_equal(archive.frac_coords, again.frac_coords)
    assert archive.material_id.tolist() == again.material_id.tolist()
    assert set(archive.split.tolist()) == {0, 1, 2}
    assert archive.property_names.tolist() == ["volume_per_atom", "spacegroup"]
    whole = demo_crystal_archive()
    assert len(whole) == len(names) and int(whole.n_atoms.max()) == 6


def test_refusals() -> None:
    with pytest.raises(ValueError, match="n=0 crystals"):
        demo_crystal_archive(0)
    with pytest.raises(ValueError, match="unknown structure type 'spinel'"):
        prototype("spinel", ["Mg", "Al", "O"])
    with pytest.raises(ValueError, match="rocksalt takes 2 elements, not 1"):
        prototype("rocksalt", ["Na"])
    with pytest.raises(ValueError, match="no radius of 'U'"):
        prototype("rocksalt", ["U", "O"])
