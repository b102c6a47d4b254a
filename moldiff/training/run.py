"""From the name of a data set, or a file of structures, to a run."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from torch import Tensor

from moldiff.config import DiffusionConfig, ModelConfig, TrainConfig, from_dict
from moldiff.data.archive import Archive
from moldiff.data.crystal_archive import CrystalArchive, is_crystal_archive
from moldiff.data.reading import Reading
from moldiff.networks.weights import load, read_config
from moldiff.shipped import find_weights
from moldiff.training.checkpoint import read_header
from moldiff.training.describe import describe_model
from moldiff.training.distributed import Ranks
from moldiff.training.loop import Trainer


def open_archive(data: str | os.PathLike[str]) -> tuple[Archive | CrystalArchive, str]:
    """The archive behind the name of a data set, an .npz file or a file of molecules or crystals, and its name.

    A file of molecules (SDF, XYZ, extxyz, SMILES) is read with RDKit and split by SMILES, 80 : 10 : 10; one of crystals
    (CIF, extxyz, ASE databases, folders) through ASE, reduced with spglib and split by composition.
    """
    from moldiff.data.crystal_files import holds_crystals, read_crystal_archive
    from moldiff.data.download import find_archive

    path = Path(data)
    if path.suffix != ".npz" and holds_crystals(path):
        crystals, found_crystals = read_crystal_archive(path)
        tell_skipped(path, found_crystals)
        return crystals, path.stem
    if path.suffix == ".npz" or not path.suffix:
        found = find_archive(data)
        name = found.stem if path.suffix else path.name
        return (CrystalArchive if is_crystal_archive(found) else Archive).load(found), name
    from moldiff.data.describe import describe
    from moldiff.data.files import read_archive

    archive, reading = read_archive(path)
    tell_skipped(path, reading)
    return describe(archive), path.stem


def tell_skipped(path: Path, reading: Reading) -> None:
    """Print which entries of a file were skipped, and why."""
    for skipped in reading.skipped[:10]:
        print(f"{path}: entry {skipped.entry} skipped: {skipped.reason}")
    if len(reading.skipped) > 10:
        print(f"{path}: {len(reading.skipped) - 10} more entries skipped")


def stored_config(out: str | os.PathLike[str]) -> TrainConfig:
    """The settings of the run in a folder, for going on with it.

    Raises:
        ValueError: if there is no readable checkpoint.
    """
    return from_dict(TrainConfig, read_header(Path(out))["config"])


def train(
    data: str | os.PathLike[str] | Archive | CrystalArchive,
    out: str | os.PathLike[str],
    *,
    config: TrainConfig | None = None,
    resume: bool = False,
    init_from: str | os.PathLike[str] | None = None,
    diffusion: DiffusionConfig | None = None,
    progress: bool = True,
) -> Path:
    """Train a model.

    Args:
        data: name of a prepared data set ("qm9", "mp20"), an .npz archive, a file of molecules, or an archive.
        out: folder of the run: ``log.jsonl``, ``checkpoint.safetensors`` and ``model.safetensors``.
        config: settings; may be left out with `resume`, where the stored ones count.
        resume: go on with the run in `out`.
        init_from: a shipped model's name, or a weights file or run folder, to start from.
        diffusion: settings of the processes.
        progress: show a bar.

    Returns:
        The path of the averaged weights, ready for ``moldiff.load``.

    Raises:
        ValueError: for unusable data, settings, weights or folders.
    """
    if config is None:
        if not resume:
            raise ValueError("a new run needs settings: pass config=TrainConfig(minutes=...) or TrainConfig(steps=...)")
        config = stored_config(out)
    start = find_weights(init_from) if init_from is not None and not resume else None
    if start is None and config.size is None and not resume:
        config = dataclasses.replace(config, size="s")
    archive, name = (data, "archive") if isinstance(data, Archive | CrystalArchive) else open_archive(data)
    initial = None
    # a resumed run keeps its own description: this one only tells whether the data are the same
    model = describe_model(archive, data=name, size=config.size or "s", diffusion=diffusion)
    if start is not None:
        model, initial = start_from(start, model, any_size=config.size is None)
    teacher = None if config.teacher is None else find_weights(config.teacher)
    if teacher is not None and config.distil is not None and not resume:
        # its order, too: second order makes even a pupil's samples more diverse (`benchmarks/sampler.py`)
        model = dataclasses.replace(model, sampler=read_config(teacher).sampler.in_steps(config.distil))
    trainer = Trainer(
        archive.subset("train"),
        model,
        config=config,
        out=Path(out),
        resume=resume,
        initial=initial,
        ranks=Ranks(),
        teacher=teacher,
    )
    return trainer.fit(progress=progress)


def start_from(path: Path, model: ModelConfig, *, any_size: bool = False) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The configuration and tensors of a run that starts from trained weights.

    Alphabets, properties and processes are those of the weights; the name of the data, its sizes and whether all its
    molecules have an even number of electrons are the new ones.

    Args:
        path: the weights file.
        model: configuration that the data alone would give.
        any_size: take the network of the weights, whatever that of `model` is.

    Raises:
        ValueError: if the data hold symbols that the weights do not know, or the size differs and may not.
    """
    network, stored = load(path)
    if stored.network != model.network and not any_size:
        raise ValueError(
            f"{path} cannot start this run: its network is {stored.network}, --size asks for {model.network}"
        )
    if stored.kind != model.kind:
        raise ValueError(f"{path} cannot start this run: it makes {stored.kind}s, the data are {model.kind}s")
    for name, symbols in model.alphabets.items():
        new = [symbol for symbol in symbols if symbol not in stored.alphabets[name]]
        if new:
            raise ValueError(
                f"{path} cannot start this run: it does not know the {name} {', '.join(new)} of the data; "
                "leave those structures out, or train without --init-from"
            )
    tensors = dict(network.state_dict())
    sampler = dataclasses.replace(
        stored.sampler, closed_shell=stored.sampler.closed_shell and model.sampler.closed_shell
    )
    # what is trained on is the mean of two runs no longer
    facts = {name: value for name, value in stored.facts.items() if name != "mean"}
    return dataclasses.replace(stored, data=model.data, sizes=model.sizes, sampler=sampler, facts=facts), tensors
