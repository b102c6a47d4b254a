"""The configuration of a model for an archive: what the data alone decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from moldiff.config import PRESETS, DiffusionConfig, LatticeConfig, ModelConfig, PropertyConfig, SamplerConfig
from moldiff.data.archive import Archive
from moldiff.data.batching import bond_indices, crystal_alphabets, fit_deviation, molecule_alphabets
from moldiff.data.crystal_archive import SPACEGROUP, CrystalArchive
from moldiff.diffusion.lattice import LatticeProcess
from moldiff.state import BOND_SYMBOLS

#: What crystals are conditioned on where an archive has it; an archive with none of these offers all its columns.
CRYSTAL_TARGETS = ("formation_energy_per_atom", "band_gap", SPACEGROUP, "heat_all", "dir_gap", "energy_per_atom")
#: Space groups.
CLASSES = {SPACEGROUP: 230}


def describe_model(
    archive: Archive | CrystalArchive, *, data: str, size: str = "s", diffusion: DiffusionConfig | None = None
) -> ModelConfig:
    """The configuration of a model for an archive: alphabets, size histogram, noise scale and property statistics.

    Args:
        archive: all splits; alphabets cover them all, statistics come from the training split.
        data: name of the data set.
        size: preset of the network.
        diffusion: settings of the processes; the deviation of positions or cells is measured either way.
    """
    train = archive.subset("train")
    if len(train) == 0:
        raise ValueError("nothing to train on: the training split is empty")
    if isinstance(archive, CrystalArchive) and isinstance(train, CrystalArchive):
        lattice = fit_lattice(train)
        measured = dataclasses.replace(diffusion or DiffusionConfig.for_crystals(lattice), lattice=lattice)
        alphabets = crystal_alphabets(archive)
        wanted = [name for name in CRYSTAL_TARGETS if name in train.property_names.tolist()]
        sampler = SamplerConfig(
            density=0.0, order=2, churn=0.0, remask=0.0, temperature=0.9, anneal=0.0, anneal_given=0.0
        )
        kind = "crystal"
    elif isinstance(archive, Archive) and isinstance(train, Archive):
        scale, power = fit_deviation(train)
        base = diffusion or DiffusionConfig()
        positions = dataclasses.replace(base.positions, deviation_scale=scale, deviation_power=power)
        measured = dataclasses.replace(base, positions=positions)
        alphabets = molecule_alphabets(archive)
        wanted, kind = [], "molecule"
        sampler = SamplerConfig(
            density=2.5,
            last=0.28,
            order=2,
            churn=0.3,
            temperature=0.7,
            bond_shares=bond_shares(train),
            redraw=2,
            closed_shell=all_even(train),
        )
    else:
        raise ValueError(f"an archive of molecules or crystals is needed, not {type(archive).__name__}")
    sizes, counts = np.unique(train.n_atoms, return_counts=True)
    return ModelConfig(
        data=data,
        network=PRESETS[size],
        diffusion=measured,
        sampler=sampler,
        alphabets={name: alphabet.symbols for name, alphabet in alphabets.items()},
        sizes={str(int(n)): int(c) for n, c in zip(sizes, counts, strict=True)},
        properties=tuple(describe_properties(train, wanted or train.property_names.tolist())),
        kind=kind,
    )


def all_even(archive: Archive) -> bool:
    """Whether the atomic numbers of every molecule add up to an even number, as without charge and radicals they do."""
    odd = np.concatenate([[0], np.cumsum(archive.numbers.astype(np.int64) % 2)])
    ends = np.cumsum(archive.n_atoms.astype(np.int64))
    return not (np.diff(odd[ends], prepend=0) % 2).any()


def bond_shares(train: Archive) -> tuple[float, ...]:
    """Share of each bond symbol after "none" among the bonds of heavy atoms; one never seen is counted once."""
    counts = np.bincount(bond_indices(train), minlength=len(BOND_SYMBOLS))[1:]
    # a hydrogen has one bond, and that is single
    counts[0] -= (train.numbers == 1).sum()
    counts = counts.clip(1)
    return tuple(float(f"{share:.4g}") for share in counts / counts.sum())


def describe_properties(train: Archive | CrystalArchive, names: Sequence[str]) -> list[PropertyConfig]:
    """Statistics of property columns over the training structures; columns without any value are left out."""
    units = dict(zip(train.property_names.tolist(), train.property_units.tolist(), strict=True))
    properties = []
    for name in names:
        values = train.column(name).astype(np.float64)
        values = values[np.isfinite(values)]
        if len(values) == 0:
            continue
        classes = CLASSES.get(name, 0)
        properties.append(
            PropertyConfig(
                name=name,
                unit=units[name],
                mean=0.0 if classes else float(values.mean()),
                deviation=1.0 if classes else float(max(values.std(), 1e-6)),
                low=float(values.min()),
                high=float(values.max()),
                classes=classes,
            )
        )
    return properties


def fit_lattice(train: CrystalArchive) -> LatticeConfig:
    """Mean and deviation of the six invariants of the cells of an archive."""
    plain = LatticeProcess(LatticeConfig(mean=(0.0,) * 6, deviation=(1.0,) * 6))
    cells = torch.from_numpy(train.lattice.astype(np.float64))
    values = plain.invariants(cells, torch.from_numpy(train.n_atoms.astype(np.int64))).double().numpy()
    return LatticeConfig(
        mean=tuple(float(x) for x in values.mean(0)),
        deviation=tuple(float(max(x, 1e-3)) for x in values.std(0)),
    )


def with_columns(archive: Archive | CrystalArchive, names: Sequence[str]) -> Archive | CrystalArchive:
    """An archive with exactly these property columns, in this order; NaN where it does not have one."""
    have = archive.property_names.tolist()
    if have == list(names):
        return archive
    values = np.full((len(archive), len(names)), np.nan, np.float32)
    units = [""] * len(names)
    for i, name in enumerate(names):
        if name in have:
            values[:, i] = archive.column(name)
            units[i] = str(archive.property_units[have.index(name)])
    return dataclasses.replace(
        archive,
        properties=values,
        property_names=np.array(list(names), dtype=np.str_),
        property_units=np.array(units, dtype=np.str_),
    )
