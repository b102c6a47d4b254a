from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.data.crystal_archive import CrystalArchive, CrystalRecord, is_crystal_archive


def record(n: int, seed: int = 0) -> CrystalRecord:
    rng = np.random.default_rng(seed)
    fractional = rng.random((n, 3)).astype(np.float32).astype(np.float64)
    cell = (4 * np.eye(3) + rng.normal(size=(3, 3)) / 3).astype(np.float32).astype(np.float64)
    return CrystalRecord(rng.integers(1, 90, n), fractional, cell)


def build(*sizes: int) -> CrystalArchive:
    return CrystalArchive.build(
        [record(n, i) for i, n in enumerate(sizes)],
        material_id=[f"mp-{i}" for i in range(len(sizes))],
        split=[i % 3 for i in range(len(sizes))],
        spacegroup_number=[(225 * i) % 230 for i in range(len(sizes))],
        properties=np.arange(1.0 * len(sizes)).reshape(-1, 1),
        property_names=["band_gap"],
        property_units=["eV"],
    )


def same(a: CrystalRecord, b: CrystalRecord) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.lists(st.integers(0, 99), max_size=6))
def test_records_and_selections(sizes: list[int], rows: list[int]) -> None:
    archive = build(*sizes)
    assert len(archive) == len(sizes)
    assert all(same(archive.record(i), record(n, i)) for i, n in enumerate(sizes))
    assert same(archive.record(-1), archive.record(len(sizes) - 1))
    rows = [row % len(sizes) for row in rows]
    chosen = archive.select(rows)
    assert chosen.material_id.tolist() == [f"mp-{row}" for row in rows]
    assert all(same(chosen.record(k), archive.record(row)) for k, row in enumerate(rows))


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    archive = build(2, 5, 1)
    archive.save(tmp_path / "a.npz")
    again = CrystalArchive.load(tmp_path / "a.npz")
    for field in fields(archive):
        assert np.array_equal(
            getattr(archive, field.name),
            getattr(again, field.name),
            equal_nan=field.name[:3] == "pro" and field.name == "properties",
        )
    assert is_crystal_archive(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


def test_space_groups_are_a_column_of_classes() -> None:
    archive = build(2, 3)
    assert archive.property_names.tolist() == ["band_gap", "spacegroup"]
    assert np.isnan(archive.column("spacegroup")[0]) and archive.column("spacegroup")[1] == 225
    with pytest.raises(ValueError, match="unknown property 'gap'; this archive has: band_gap, spacegroup"):
        archive.column("gap")


def test_one_array_a_property(tmp_path: Path) -> None:
    archive = build(2, 3)
    arrays = {f.name: getattr(archive, f.name) for f in fields(archive) if not f.name.startswith("propert")}
    np.savez(
        tmp_path / "mp.npz",
        **arrays,
        band_gap=np.array([1.0, np.nan], np.float32),
        e_above_hull_lemat=np.zeros(2),
        formation_energy_per_atom=np.array([-1.0, -2.0]),
    )
    read = CrystalArchive.load(tmp_path / "mp.npz")
    assert sorted(read.property_names.tolist()) == ["band_gap", "formation_energy_per_atom", "spacegroup"]
    assert read.column("formation_energy_per_atom").tolist() == [-1.0, -2.0]


def test_subset_and_limits() -> None:
    archive = build(2, 3, 4)
    assert archive.subset("val").material_id.tolist() == ["mp-1"]
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        archive.subset("valid")
    with pytest.raises(IndexError, match="crystal 3 is outside an archive of 3"):
        archive.record(3)
    assert len(CrystalArchive.build([])) == 0


def test_coordinates_are_wrapped_into_the_cell() -> None:
    one = CrystalRecord(np.array([1, 2]), np.array([[-1e-9, 1.5, 1.0], [0.99999999, -0.25, 0.0]]), np.eye(3) * 4)
    archive = CrystalArchive.build([one])
    assert archive.frac_coords.max() < 1 and archive.frac_coords.min() >= 0
    assert archive.frac_coords[1, 1] == 0.75


def test_bad_arrays_are_named(tmp_path: Path) -> None:
    good = record(2)
    for bad, message in (
        (good._replace(fractional=np.full((2, 3), np.nan)), "frac_coords"),
        (good._replace(cell=np.zeros((3, 3))), "volume 0 in row 0"),
        (good._replace(cell=np.full((3, 3), np.nan)), "lattice"),
        (good._replace(numbers=np.array([0, 1])), "atomic_numbers"),
        (good._replace(numbers=np.array([1])), "record 0: shapes"),
    ):
        with pytest.raises(ValueError, match=message):
            CrystalArchive.build([bad])
    with pytest.raises(ValueError, match="spacegroup_number"):
        CrystalArchive.build([good], spacegroup_number=[231])
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz: arrays missing .* n_atoms"):
        CrystalArchive.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match="no archive at"):
        CrystalArchive.load(tmp_path / "none.npz")
    assert not is_crystal_archive(tmp_path / "other.npz")


def test_reading_needs_numpy_alone() -> None:
    code = (
        "import sys; import moldiff.data.crystal_archive; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'ase', 'pymatgen', 'rdkit')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.data
@pytest.mark.parametrize(("name", "test"), [("mp20", 9046), ("mpts52", 8096), ("perov5", 3785), ("carbon24", 2030)])
def test_the_real_archives(data_root: Path, name: str, test: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from moldiff.data.download import find_archive

    monkeypatch.setenv("MOLDIFF_DATA", str(data_root))
    archive = CrystalArchive.load(find_archive(name))
    assert len(archive.subset("test")) == test
    if name == "mp20":
        assert len(archive) == 44879
        assert set(archive.property_names) == {
            *("formation_energy_per_atom", "band_gap", "dft_mag_density", "e_above_hull", "spacegroup"),
        }
        assert archive.record(0).fractional.shape == (archive.n_atoms[0], 3)
