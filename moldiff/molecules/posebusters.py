"""The plausibility tests of PoseBusters (Buttenschoen et al. 2024) for molecules without a protein (extra
``posebusters``)."""

import contextlib
import importlib
import inspect
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import rdkit
from rdkit import Chem, rdBase

PASSED = "passed"
"""Key of the conjunction of all tests."""


def posebust(mols: Sequence[Chem.Mol | None]) -> list[dict[str, bool]]:
    """Run the ``mol`` configuration: sanitisation, lengths, angles, clashes, flat rings and double bonds, strain.

    Args:
        mols: sanitised molecules with explicit hydrogens and a conformer; None stands for a failure.

    Returns:
        one dict a molecule: the flag of each test by PoseBusters' name (spaces become ``_``), and ``passed``, whether
        all of them pass. None, and a molecule on which PoseBusters itself fails, is ``{"passed": False}``.

    Raises:
        ImportError: PoseBusters is not installed.
    """
    with _logs_kept():
        buster = _buster()
        return [_bust(buster, mol) for mol in mols]


def _buster() -> Any:
    known = "posebusters" in sys.modules
    try:
        from posebusters import PoseBusters
    except ImportError as error:
        raise ImportError(
            f"these tests need PoseBusters ({error}); install it: pip install 'moldiff[posebusters]'"
        ) from error
    if not known:
        # importing it sends RDKit's messages to Python's logging; RDKit itself sends them to cells in a notebook
        notebook = "rdkit.Chem.Draw.IPythonConsole" in sys.modules
        (rdBase.LogToPythonStderr if notebook else rdBase.LogToCppStreams)()
    buster = PoseBusters(config="mol")
    energy_ratio: Any = importlib.import_module("posebusters.modules.energy_ratio").check_energy_ratio
    if "num_threads" in inspect.signature(energy_ratio).parameters:
        # its 50 conformers are 4/5 of the time; by default they take all cores, in every worker process
        for module in buster.config["modules"]:
            if module["function"] == "energy_ratio":
                module["parameters"]["num_threads"] = 1
    return buster


@contextlib.contextmanager
def _logs_kept() -> Iterator[None]:
    """Leave RDKit's log as it was: PoseBusters switches all channels on and moves RDKit's handler to the error stream
    of the moment, which here is not the real one."""
    before = dict(line.split(":") for line in rdBase.LogStatus().split())
    stream = rdkit.log_handler.stream
    try:
        yield
    finally:
        rdkit.log_handler.setStream(stream)
        for channel, status in before.items():
            (rdBase.EnableLog if status == "enabled" else rdBase.DisableLog)(channel)


def _bust(buster: Any, mol: Chem.Mol | None) -> dict[str, bool]:
    if mol is None:
        return {PASSED: False}
    quiet = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(quiet):
            warnings.simplefilter("ignore")
            for channel in ("rdApp.warning", "rdApp.error"):
                rdBase.DisableLog(channel)
            table = buster.bust([Chem.Mol(mol)], None, None, full_report=False)
        row = table.iloc[0]
        # A test that could not be run has no value: it did not pass.
        flags = {str(name).lower().replace(" ", "_"): _flag(value) for name, value in row.items()}
    except Exception:  # a third-party program on arbitrary input: its crash is the answer "no"
        return {PASSED: False}
    return {**flags, PASSED: bool(flags) and all(flags.values())}


def _flag(value: Any) -> bool:
    return bool(value is not None and value == value and value)
