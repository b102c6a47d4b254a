"""Classifier-free guidance (Ho & Salimans 2022): two guesses, one told the targets and one not, extrapolated."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.state import SYMBOL_FIELDS, State


def classifier_free(denoiser: Denoiser, weight: float) -> Denoiser:
    """A denoiser whose guess is u + w (c - u), of an unconditional guess u and a conditional one c.

    The weight acts on clean positions, tangents, invariants of the cell and log-probabilities of symbols; a symbol that
    either guess rules out stays ruled out. The sampler hands the guided guess back to both, so it is their
    self-conditioning. Given positions are the same in both guesses and keep every bit. Predicted properties are those
    of u, which has not been told the answer.

    Args:
        denoiser: has learnt to do with and without a `Condition`.
        weight: w; 1 is plain conditional and 0 unconditional (one evaluation each), others cost two evaluations.

    Returns:
        the guided denoiser; a call with no condition, or none shown, is passed through.

    Raises:
        ValueError: for a weight that is negative or not finite.
    """
    check_weight(weight)

    def guided(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        if condition is None or weight == 1:
            return denoiser(state, clocks, condition, previous)
        unconditional = denoiser(state, clocks, None, previous)
        if weight == 0:
            return unconditional
        return extrapolate(unconditional, denoiser(state, clocks, condition, previous), weight, state, clocks)

    return guided


def check_weight(weight: float) -> None:
    """Refuse a weight that is negative or not finite with a ValueError."""
    if not math.isfinite(weight) or weight < 0:
        raise ValueError(f"guidance must be a finite number of at least 0, not {weight}: 1 is plain conditional")


def evaluations(weight: float) -> int:
    """Network evaluations of a guided guess."""
    return 1 if weight in (0, 1) else 2


def extrapolate(u: Prediction, c: Prediction, weight: float, state: State, clocks: Clocks) -> Prediction:
    """The prediction u + w (c - u); see `classifier_free`."""
    mixed: dict[str, Tensor | None] = {}
    for name in ("positions", "tangent", "invariants"):
        mixed[name] = line(getattr(u, name), getattr(c, name), weight)
    mixed["cell"] = mix_cells(u.cell, c.cell, weight)
    for name in SYMBOL_FIELDS:
        mixed[name] = mix_logits(getattr(u, name), getattr(c, name), weight)
    tangent = mixed["tangent"]
    if tangent is not None and state.fractional is not None:
        t = clocks.time("fractional", state)[:, None, None]
        mixed["fractional"] = torch.remainder(state.fractional - t * tangent, 1.0)
    elif u.fractional is not None and c.fractional is not None:
        apart = torch.remainder(c.fractional - u.fractional + 0.5, 1.0) - 0.5
        mixed["fractional"] = torch.remainder(u.fractional + weight * apart, 1.0)
    return Prediction(**mixed, properties=u.properties)


def line(u: Tensor | None, c: Tensor | None, weight: float) -> Tensor | None:
    """u + w (c - u), or None where a guess is absent."""
    return None if u is None or c is None else u + weight * (c - u)


def mix_cells(u: Tensor | None, c: Tensor | None, weight: float) -> Tensor | None:
    """Cells (B, 3, 3) whose logarithm is log u + w (log c - log u), or None where a guess is absent.

    The invariants of a cell are linear in its logarithm, so this is the cell of the extrapolated invariants.
    """
    if u is None or c is None:
        return None
    mixed = spectral(u, torch.log) + weight * (spectral(c, torch.log) - spectral(u, torch.log))
    return torch.where(u == c, u, spectral(mixed, torch.exp).to(u.dtype))


def spectral(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of symmetric matrices (B, 3, 3) by their eigenvalues, float64, without gradients."""
    with torch.no_grad():
        values, vectors = torch.linalg.eigh(matrix.double())
        values = function(values if function is torch.exp else values.clamp_min(1e-6))
        return (vectors * values.unsqueeze(-2)) @ vectors.transpose(-1, -2)


def mix_logits(u: Tensor | None, c: Tensor | None, weight: float) -> Tensor | None:
    """Normalised log-probabilities u + w (c - u) of logits (..., K), float32; -inf where either is.

    Where nothing is left that both allow, the conditional guess stands.
    """
    if u is None or c is None:
        return None
    u, c = u.float().log_softmax(-1), c.float().log_softmax(-1)
    out = torch.isneginf(u) | torch.isneginf(c)
    mixed = (u + weight * (c - u)).masked_fill(out, -math.inf)
    mixed = torch.where(out.all(-1, keepdim=True), c, mixed)
    return mixed.log_softmax(-1)
