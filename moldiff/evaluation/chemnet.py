"""Frechet ChemNet distance (Preuer et al. 2018), where fcd_torch is installed; its weights come in the package."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from moldiff.evaluation.cache import keep, recall
from moldiff.evaluation.comparison import around, metric
from moldiff.evaluation.rates import Metric
from moldiff.evaluation.workers import BAR
from moldiff.molecules.distributions import bootstrap_draws

__all__ = ["Gaussian", "activations", "distance", "frechet", "installed", "known"]

RESAMPLES = 20  # each needs the eigenvalues of a 512 x 512 matrix
_BATCH = 64

Values = NDArray[np.float64]


class Gaussian:
    """Mean and covariance of activations, with the covariance's square root.

    Args:
        mean: (D,). covariance: (D, D) symmetric, without negative eigenvalues but for rounding.
        count: of how many molecules.
    """

    def __init__(self, mean: Values, covariance: Values, *, count: int) -> None:
        self.mean, self.covariance, self.count = mean, covariance, count
        values, vectors = np.linalg.eigh(covariance)
        self.root: Values = (vectors * np.sqrt(values.clip(0))) @ vectors.T

    @classmethod
    def of(cls, values: Values, weights: NDArray[np.int64] | None = None) -> Gaussian:
        """Of activations (n, D), each counted ``weights`` (n,) times; the covariance is divided by their number - 1.

        One molecule alone has no covariance: zero.
        """
        counts = np.ones(len(values)) if weights is None else weights.astype(np.float64)
        total = int(counts.sum())
        mean = counts @ values / max(total, 1)
        centred = values - mean
        return cls(mean, (centred.T * counts) @ centred / max(total - 1, 1), count=total)


def installed() -> bool:
    """Whether fcd_torch is."""
    return importlib.util.find_spec("fcd_torch") is not None


def activations(smiles: Sequence[str], *, progress: bool = False) -> Values:
    """What ChemNet's last hidden layer says of molecules, (n, 512); SMILES that RDKit cannot read are left out.

    Args:
        smiles: of the molecules; every distinct one is computed once.
        progress: show a bar.

    Raises:
        ImportError: fcd_torch is not installed.
    """
    from rdkit import Chem, rdBase

    torch: Any = importlib.import_module("torch")
    fcd: Any = importlib.import_module("fcd_torch")
    utils: Any = importlib.import_module("fcd_torch.utils")
    with rdBase.BlockLogs():
        readable = [text for text in dict.fromkeys(smiles) if Chem.MolFromSmiles(text) is not None]
    places = {text: place for place, text in enumerate(readable)}
    # the package's own loop over batches calls functions that NumPy and SciPy are about to remove
    inputs, network = utils.SmilesDataset(readable, canonize=True), fcd.FCD(device="cpu").model
    rows = []
    with torch.no_grad(), tqdm(total=len(places), desc="ChemNet", disable=not progress, bar_format=BAR) as bar:
        for start in range(0, len(places), _BATCH):
            batch = np.stack([inputs[i] for i in range(start, min(start + _BATCH, len(places)))])
            rows.append(network(torch.from_numpy(batch).transpose(1, 2).float()).numpy().astype(np.float64))
            bar.update(len(batch))
    if not rows:
        return np.zeros((0, 512))
    found: Values = np.concatenate(rows)[[places[text] for text in smiles if text in places]]
    return found


def known(smiles: Sequence[str], *, progress: bool = False) -> Gaussian:
    """Mean and covariance of a reference's activations, kept in the cache folder: they take 1.5 ms a molecule.

    Args:
        smiles: of the reference; they and the network's weights are what the file goes by.
        progress: show a bar where they are computed.

    Raises:
        ImportError: fcd_torch is not installed.
    """
    weights = sorted(Path(importlib.import_module("fcd_torch").__file__ or "").parent.glob("*.pt"))
    digest = sha256("\n".join(smiles).encode())
    for path in weights:
        digest.update(path.read_bytes())
    name = f"chemnet-{digest.hexdigest()[:16]}"
    stored = recall(name)
    if stored is not None and {"mean", "covariance", "count"} <= stored.keys():
        return Gaussian(stored["mean"], stored["covariance"], count=int(stored["count"]))
    found = Gaussian.of(activations(smiles, progress=progress))
    keep(name, {"mean": found.mean, "covariance": found.covariance, "count": np.array(found.count)})
    return found


def distance(first: Gaussian, second: Gaussian) -> float:
    """Squared Frechet distance |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)); what papers call FCD.

    (C1 C2)^(1/2) has the trace of (R C2 R)^(1/2), R the root of C1, and that matrix is symmetric: so no complex
    rounding errors as with a general matrix root.
    """
    inner = first.root @ second.covariance @ first.root
    shared = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(0)).sum()
    apart = float(((first.mean - second.mean) ** 2).sum())
    total = apart + float(np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared)
    return max(0.0, total)


def frechet(
    values: Values, reference: Gaussian, total: int, *, seed: int = 0, intervals: bool = True
) -> dict[str, Metric]:
    """The distance of a set from the reference, with a bootstrap interval over molecules.

    The distance depends on the number of molecules: compare with the floor of as many.

    Args:
        values: (n, 512) activations of the set.
        reference: of the training sample; of fewer than two molecules on either side there is no distance (NaN).
        total: how many structures were asked for.
        seed: of the bootstrap.
        intervals: False leaves the bootstrap out.
    """
    if len(values) < 2 or reference.count < 2:
        return {"fcd": metric(math.nan, (math.nan, math.nan), len(values), total)}
    value = distance(reference, Gaussian.of(values))
    low_high = (math.nan, math.nan)
    if intervals:
        draws = bootstrap_draws(len(values), RESAMPLES, seed=seed)
        low_high = around(value, [distance(reference, Gaussian.of(values, draw)) for draw in draws], math.inf)
    return {"fcd": metric(value, low_high, len(values), total)}
