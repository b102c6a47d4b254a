"""`moldiff data`: training data from public files or from a file of molecules."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from moldiff.commands.options import DONE, Flag, Where

if TYPE_CHECKING:
    from moldiff.data.archive import Archive


@dataclass(frozen=True)
class Data:
    """Prepare training data: bonds, aromatic flags, descriptors and a split in one .npz archive.

    Example: moldiff data qm9

    `qm9` downloads the original files (or says which to put where) and prepares them; `demo` makes a small set offline;
    a file of molecules (.sdf, .xyz, .extxyz, .smi, also .gz) is read entry by entry, and what had to be skipped is
    listed with its reason: moldiff data my.sdf -o my.npz

    Attributes:
        source: qm9, demo, or a file of molecules.
        out: archive to write; needed for a file, <root>/<name>/<name>.npz for a data set by default.
        root: folder of prepared data; the variable MOLDIFF_DATA or else a cache folder by default.
        download: download what is missing; --no-download uses only original files that are there already.
        number: molecules of the demonstration set.
        hydrogens: explicit takes the atoms as they are in the file; add adds missing hydrogens.
        seed: of the split, of conformers where a file has none, and of the demonstration set.
    """

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="PATH", help_behavior_hint="")] = None
    root: Where = None
    download: Flag = True
    number: Annotated[int, arg(aliases=["-n"])] = 200
    hydrogens: Literal["explicit", "add"] = "explicit"
    seed: int = 0

    def run(self) -> int:
        """Prepare and say what there is."""
        from moldiff.data.archive import Archive
        from moldiff.data.describe import describe

        progress = sys.stderr.isatty()
        target = self.out
        if target is not None:
            check_archive_path(target)
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
                raise ValueError(f"{self.source!r} is neither qm9 nor demo nor a file; check the path")
            archive, reading = read_archive(self.source, hydrogens=self.hydrogens, seed=self.seed)
            print(reading.report())
            archive = describe(archive, progress=progress)
            target = Path(str(target))
        archive.save(target)
        return summarise(archive, target)


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


def summarise(archive: Archive, path: Path) -> int:
    """Print what an archive holds."""
    from moldiff.data.archive import SPLITS

    parts = ", ".join(f"{int((archive.split == i).sum())} {name}" for i, name in enumerate(SPLITS))
    print(f"{path}: {len(archive)} molecules ({parts}), up to {int(archive.n_atoms.max())} atoms")
    units = zip(archive.property_names.tolist(), archive.property_units.tolist(), strict=True)
    print("properties: " + (", ".join(f"{name} ({unit})" if unit else name for name, unit in units) or "none"))
    return DONE
