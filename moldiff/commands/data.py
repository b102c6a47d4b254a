"""`moldiff data`: training data from public files or from a file of structures."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from moldiff.commands.options import DONE, Flag, Where, Whole

if TYPE_CHECKING:
    from moldiff.data.archive import Archive
    from moldiff.data.crystal_archive import CrystalArchive


@dataclass(frozen=True)
class Data:
    """Prepare training data: one .npz archive with a split.

    The original downloads, a small set made offline, and a file of your own:
        moldiff data qm9
        moldiff data demo -n 500 -o demo.npz
        moldiff data my.sdf -o my.npz

    `qm9`, and of crystals `mp20`, `mpts52`, `perov5` and `carbon24`, download the original files (or say which to put
    where) and prepare them; `demo` and `demo-crystals` make a small set offline. A file of molecules (.sdf, .xyz,
    .extxyz, .smi, also .gz) or crystals (.cif, .extxyz, .vasp, .db, a folder) is read entry by entry, and what had to
    be skipped is listed with its reason. Molecules get bonds, aromatic flags and
    descriptors, crystals their primitive Niggli cell and space group.

    Attributes:
        source: qm9, mp20, mpts52, perov5, carbon24, demo, demo-crystals, or a file of molecules or crystals.
        out: archive to write; needed for a file, <root>/<name>/<name>.npz for a data set by default.
        root: folder of prepared data; the variable MOLDIFF_DATA or else a cache folder by default.
        download: download what is missing; --no-download uses only original files that are there already.
        number: structures of the demonstration set.
        max_atoms: leave out crystals with more atoms in the primitive cell.
        duplicates: keep crystals that equal another; --no-duplicates keeps the first of them.
        hydrogens: explicit takes the atoms as they are in the file; add adds missing hydrogens.
        seed: of the split, of conformers where a file has none, and of the demonstration set.
    """

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="PATH", help_behavior_hint="")] = None
    root: Where = None
    download: Flag = True
    number: Annotated[int, arg(aliases=["-n"])] = 200
    max_atoms: Whole = None
    duplicates: Flag = True
    hydrogens: Literal["explicit", "add"] = "explicit"
    seed: int = 0

    def run(self) -> int:
        """Prepare and say what there is."""
        from moldiff.data.archive import Archive
        from moldiff.data.crystal_files import holds_crystals
        from moldiff.data.describe import describe
        from moldiff.data.download import CRYSTAL_FILES

        progress = sys.stderr.isatty()
        target = self.out
        if target is not None:
            check_archive_path(target)
        if self.source in (*CRYSTAL_FILES, "demo-crystals") or holds_crystals(self.source):
            return self._crystals(progress=progress)
        if self.source == "qm9":
            from moldiff.data.qm9 import prepare
            from moldiff.molecules.descriptors import NAMES

            path = prepare(self.root, download=self.download, progress=progress)
            archive = Archive.load(path)
            known = archive.aromatic is not None and set(NAMES) <= set(archive.property_names.tolist())
            if known and target in (None, path):
                return summarise(archive, path)
            target = target or path
            check_archive_path(target)
            if not known:  # prepared by something else
                archive = describe(archive, progress=progress)
        elif self.source == "demo":
            from moldiff.data.demo import demo_archive
            from moldiff.data.download import data_root

            if target is None:
                target = (self.root or data_root()) / "demo" / "demo.npz"
                make_folder(target.parent)
                check_archive_path(target)
            archive = demo_archive(self.number, seed=self.seed)
        else:
            from moldiff.data.files import read_archive

            if target is None and Path(self.source).is_file():
                raise ValueError(f"say where to write the archive: moldiff data {self.source} -o NAME.npz")
            if not Path(self.source).is_file():
                raise ValueError(
                    f"{self.source!r} is neither a data set nor a file; check the path, or name one of "
                    "qm9, mp20, mpts52, perov5, carbon24, demo and demo-crystals"
                )
            archive, reading = read_archive(self.source, hydrogens=self.hydrogens, seed=self.seed)
            print(reading.report())
            archive = describe(archive, progress=progress)
            target = Path(str(target))
        archive.save(target)
        return summarise(archive, target)

    def _crystals(self, *, progress: bool) -> int:
        from moldiff.data.crystal_archive import CrystalArchive
        from moldiff.data.download import CRYSTAL_FILES, data_root

        target = self.out
        if self.source in CRYSTAL_FILES:
            from moldiff.data.mp20 import prepare

            path = prepare(self.source, self.root, download=self.download, progress=progress)
            archive = CrystalArchive.load(path)
            if target in (None, path):
                return summarise(archive, path)
        elif self.source == "demo-crystals":
            from moldiff.data.demo_crystals import demo_crystal_archive

            if target is None:
                target = (self.root or data_root()) / "demo-crystals" / "demo-crystals.npz"
                make_folder(target.parent)
                check_archive_path(target)
            archive = demo_crystal_archive(self.number, seed=self.seed)
        else:
            from moldiff.data.crystal_files import read_crystal_archive

            if target is None:
                raise ValueError(f"say where to write the archive: moldiff data {self.source} -o NAME.npz")
            archive, reading = read_crystal_archive(
                self.source, seed=self.seed, max_atoms=self.max_atoms, duplicates=self.duplicates
            )
            print(reading.report())
        archive.save(Path(str(target)))
        return summarise(archive, Path(str(target)))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        ValueError: if that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {folder}: {error.strerror}; choose another --root") from error


def check_archive_path(path: Path) -> None:
    """Refuse a path that no archive can be written to, before any work is done.

    Raises:
        ValueError: for another suffix, a missing folder or one without permission.
    """
    if path.suffix != ".npz":
        raise ValueError(f"cannot write an archive to {path}: its name must end in .npz")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"cannot write {path}: no permission, or a folder of that name; choose another with -o")


def summarise(archive: Archive | CrystalArchive, path: Path) -> int:
    """Print what an archive holds."""
    from moldiff.data.archive import SPLITS

    parts = ", ".join(f"{int((archive.split == i).sum())} {name}" for i, name in enumerate(SPLITS))
    noun = "molecules" if hasattr(archive, "smiles") else "crystals"
    print(f"{path}: {len(archive)} {noun} ({parts}), up to {int(archive.n_atoms.max())} atoms")
    units = zip(archive.property_names.tolist(), archive.property_units.tolist(), strict=True)
    print("properties: " + (", ".join(f"{name} ({unit})" if unit else name for name, unit in units) or "none"))
    return DONE
