"""The benchmark sets of crystals from their original downloads: MP-20, MPTS-52, Perov-5 and Carbon-24.

The csv files of CDVAE (Xie et al., ICLR 2022, https://github.com/txie-93/cdvae) and, for MPTS-52, of DiffCSP (Jiao et
al., NeurIPS 2023, https://github.com/jiaor17/DiffCSP): one row a crystal with a column ``cif``. Data of the Materials
Project (CC BY 4.0), of Castelli et al. 2012 (perovskites) and of Pickard 2020 (carbon).
"""

from __future__ import annotations

import csv
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from moldiff.crystals.convert import CrystalArrays, from_structure
from moldiff.crystals.reduction import niggli, space_group
from moldiff.data.archive import SPLITS
from moldiff.data.crystal_archive import CrystalArchive
from moldiff.data.download import CRYSTAL_FILES, data_root, fetch

__all__ = ["SETS", "CrystalSet", "archive_from_csv", "crystal_of", "prepare"]

_CDVAE = "https://raw.githubusercontent.com/txie-93/cdvae/main/data"
_DIFFCSP = "https://raw.githubusercontent.com/jiaor17/DiffCSP/main/data"
_CHUNK = 100


@dataclass(frozen=True)
class CrystalSet:
    """Where a set of crystals comes from.

    Attributes:
        folder: address of the folder that holds train.csv, val.csv and test.csv.
        properties: columns to keep and their units.
        counts: crystals of the three splits in the original files.
    """

    folder: str
    properties: tuple[tuple[str, str], ...]
    counts: tuple[int, int, int]


SETS: dict[str, CrystalSet] = {
    "mp20": CrystalSet(
        f"{_CDVAE}/mp_20",
        (("formation_energy_per_atom", "eV/atom"), ("band_gap", "eV"), ("e_above_hull", "eV/atom")),
        (27_136, 9_047, 9_046),
    ),
    "mpts52": CrystalSet(
        f"{_DIFFCSP}/mpts_52",
        (("formation_energy_per_atom", "eV/atom"), ("e_above_hull", "eV/atom")),
        (27_380, 5_000, 8_096),
    ),
    "perov5": CrystalSet(
        f"{_CDVAE}/perov_5",
        (("heat_all", "eV/atom"), ("dir_gap", "eV"), ("ind_gap", "eV")),
        (11_356, 3_787, 3_785),
    ),
    "carbon24": CrystalSet(f"{_CDVAE}/carbon_24", (("energy_per_atom", "eV/atom"),), (6_091, 2_032, 2_030)),
}
"""The sets by name."""


def crystal_of(cif: str) -> CrystalArrays:
    """The crystal of a CIF text as CDVAE prepares it: read by pymatgen, Niggli-reduced, not made primitive.

    Raises:
        ValueError: for text that holds none, disordered sites, a cell of zero volume, or if pymatgen or spglib is not
            installed.
    """
    try:
        from pymatgen.core import Structure
    except ImportError as error:
        raise ValueError("this needs pymatgen: pip install 'moldiff[crystal]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            structure = Structure.from_str(cif, fmt="cif")
        except Exception as error:  # pymatgen raises many kinds for malformed text
            raise ValueError(f"malformed CIF: {type(error).__name__}: {str(error).splitlines()[:1]}") from error
    return niggli(from_structure(structure))


def archive_from_csv(
    paths: Mapping[str, str | os.PathLike[str]],
    *,
    properties: Sequence[tuple[str, str]] = (),
    jobs: int = 1,
    progress: bool = True,
) -> tuple[CrystalArchive, list[tuple[str, str, str]]]:
    """Read the csv files of the splits into an archive.

    Args:
        paths: "train", "val" and "test" -> csv file with the columns ``cif`` and, where there is one, ``material_id``.
        properties: names and units of the columns to keep; those that no file has are left out.
        jobs: processes.
        progress: show a bar.

    Returns:
        The archive, with space groups (spglib, 0.1 angstrom), in the order of the files, and the skipped rows as
        (split, material id, reason).

    Raises:
        ValueError: for a file without a column ``cif`` or without any readable row.
    """
    from tqdm import tqdm

    unknown = set(paths) - set(SPLITS)
    if unknown:
        raise ValueError(f"unknown split {sorted(unknown)[0]!r}; choose from {', '.join(SPLITS)}")
    records: list[CrystalArrays] = []
    ids: list[str] = []
    split, groups, values = [], [], []
    skipped: list[tuple[str, str, str]] = []
    for number, name in enumerate(SPLITS):
        if name not in paths:
            continue
        rows = list(_rows(Path(paths[name])))
        with tqdm(total=len(rows), desc=name, unit="crystal", disable=not progress) as bar:
            for row, (result, group) in zip(rows, _run([row["cif"] for row in rows], jobs), strict=True):
                bar.update()
                label = row.get("material_id") or str(len(ids) + len(skipped))
                if isinstance(result, str):
                    skipped.append((name, label, result))
                    continue
                records.append(result)
                ids.append(label)
                split.append(number)
                groups.append(group)
                values.append([_number(row.get(column)) for column, _ in properties])
    if not records:
        reasons = "; ".join(f"{label}: {reason}" for _, label, reason in skipped[:3])
        raise ValueError(f"{', '.join(map(str, paths.values()))}: no readable crystal ({reasons or 'no rows'})")
    table = np.array(values, dtype=np.float32).reshape(len(records), len(properties))
    known = np.flatnonzero(np.isfinite(table).any(axis=0)).tolist()
    archive = CrystalArchive.build(
        records,
        material_id=ids,
        split=split,
        spacegroup_number=groups,
        properties=table[:, known],
        property_names=[properties[i][0] for i in known],
        property_units=[properties[i][1] for i in known],
    )
    return archive, skipped


def prepare(
    name: str = "mp20",
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    jobs: int = 2,
    progress: bool = True,
) -> Path:
    """Make the archive of one of `SETS` from its csv files and return its path; an existing archive is kept.

    The files are looked for in ``<root>/crystals/<name>-raw`` and downloaded there if missing; ``root`` defaults to
    `moldiff.data.download.data_root`. Skipped crystals are listed in ``<name>-skipped.csv`` beside the archive.

    Raises:
        FileNotFoundError: with ``download=False``, saying which file to put where.
        ConnectionError: if a file cannot be downloaded, saying the same.
        ValueError: for an unknown name or damaged files.
    """
    if name not in SETS:
        raise ValueError(f"unknown set of crystals {name!r}; choose from {', '.join(SETS)}")
    source = SETS[name]
    folder = (data_root() if root is None else Path(root)) / "crystals"
    target = folder / CRYSTAL_FILES[name]
    if target.is_file():
        return target
    raw = folder / f"{name}-raw"
    paths = {}
    for split in SPLITS:
        url, path = f"{source.folder}/{split}.csv", raw / f"{split}.csv"
        if not download and not path.is_file():
            raise FileNotFoundError(f"{path} is missing; download {url} and put it there")
        paths[split] = fetch(url, path, checksum=None, progress=progress)
    archive, skipped = archive_from_csv(paths, properties=source.properties, jobs=jobs, progress=progress)
    rows = [f'{split},{label},"{reason}"' for split, label, reason in skipped]
    (folder / f"{name}-skipped.csv").write_text("\n".join(["split,material_id,reason", *rows, ""]), encoding="utf-8")
    if progress:
        reasons = Counter(reason.split(":")[0] for _, _, reason in skipped)
        text = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none"
        counts = [int((archive.split == i).sum()) for i in range(3)]
        print(f"{name}: {counts} crystals kept of {list(source.counts)} expected, skipped: {text}")
    return archive.save(target)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    csv.field_size_limit(1 << 24)  # a CIF of many atoms is longer than the default
    with open(path, newline="", encoding="utf-8", errors="replace") as stream:
        reader = csv.DictReader(stream)
        if "cif" not in (reader.fieldnames or []):
            raise ValueError(f"{path}: no column 'cif' among {', '.join(reader.fieldnames or []) or 'none'}")
        yield from ({key: value or "" for key, value in row.items() if key is not None} for row in reader)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _crystal(cif: str) -> tuple[CrystalArrays | str, int]:
    """The crystal and its space group, or the reason why there is none, and 0."""
    try:
        crystal = crystal_of(cif)
    except ValueError as error:
        if "pip install" in str(error):
            raise
        return str(error).replace('"', "'").replace("\n", " "), 0
    return crystal, space_group(crystal)


def _run(texts: Sequence[str], jobs: int) -> Iterator[tuple[CrystalArrays | str, int]]:
    if jobs < 1:
        raise ValueError(f"jobs={jobs} processes cannot work; use 1 or more")
    if jobs == 1 or len(texts) < _CHUNK:
        yield from map(_crystal, texts)
        return
    # spawn, not fork: the caller may hold torch threads
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = iter(texts)
        while batch := list(islice(waiting, 8 * jobs * _CHUNK)):  # a few at a time keeps memory small and the bar alive
            yield from pool.map(_crystal, batch, chunksize=_CHUNK)
