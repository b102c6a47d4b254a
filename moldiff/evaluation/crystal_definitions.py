"""What every number of an evaluation of crystals means; `moldiff.evaluation.definitions` looks here for them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CRYSTALS", "PROTOCOL"]

PROTOCOL = "crystals"


class _Definition(NamedTuple):
    label: str
    text: str
    unit: str = ""


_STRICT = "StructureMatcher (ltol 0.2, stol 0.3, angle 5; MatterGen's)"
_LOOSE = "StructureMatcher (ltol 0.3, stol 0.5, angle 10; DiffCSP's)"
_TIMEOUT = "a comparison that takes too long counts as neither new nor unique"
_PAIR = "StructureMatcher (ltol 0.3, stol 0.5, angle 10) with the true crystal of the same place"
_RMS = "RMS distance over (volume / atoms)^(1/3)"

CRYSTALS: dict[str, _Definition] = {
    "valid": _Definition(
        "valid", "structure valid, composition valid, and a CrystalNN fingerprint exists; of all structures", "%"
    ),
    "structure_valid": _Definition(
        "structure valid",
        "different sites at least 0.5 angstrom apart and a volume of at least 0.1 cubic angstrom (CDVAE's rule), of "
        "all structures",
        "%",
    ),
    "structure_valid_images": _Definition(
        "structure valid, own images too",
        "the same, and no atom closer than 0.5 angstrom to an image of itself, of all structures",
        "%",
    ),
    "composition_valid": _Definition(
        "composition valid",
        "smact14 oxidation states can balance with anions more electronegative than cations; single elements and "
        "metals alone pass (CDVAE's rule); of all structures",
        "%",
    ),
    "unique": _Definition("unique, of valid", f"different crystals among the valid by {_STRICT}; {_TIMEOUT}", "%"),
    "novel": _Definition(
        "novel, of unique", f"different valid crystals that match no training crystal by {_STRICT}; {_TIMEOUT}", "%"
    ),
    "vun": _Definition("valid x unique x novel", f"those of all structures, by {_STRICT}", "%"),
    "unique_loose": _Definition("unique, of valid, loose", f"as unique, by {_LOOSE}", "%"),
    "novel_loose": _Definition("novel, of unique, loose", f"as novel, by {_LOOSE}", "%"),
    "memorised": _Definition(
        "in the training set", f"structures, valid or not, that match a training crystal by {_STRICT}; of all", "%"
    ),
    "cov_recall": _Definition(
        "COV-R",
        "test crystals with a generated one within 0.4 by structure (site-averaged CrystalNN fingerprint) and one "
        "within 10 by composition (standardised Magpie), independently; of the test crystals compared with (which are "
        "what the interval is over)",
        "%",
    ),
    "cov_precision": _Definition("COV-P", "the same the other way round, of all structures", "%"),
    "w1_density": _Definition(
        "W1 density", "Wasserstein-1 distance of 1,000 random valid structures from the test set", "g/cm^3"
    ),
    "w1_elements": _Definition("W1 number of elements", "the same of the number of different elements"),
    "p1_share": _Definition(
        "P1", "structures without any symmetry but translations (spglib, 0.1 angstrom), of all structures", "%"
    ),
    "match_rate": _Definition("match rate", f"predictions that match by {_PAIR}, of all true crystals", "%"),
    "match_rate_valid": _Definition(
        "match rate, valid only",
        "the same, counting only predictions with valid structure and composition, of all true crystals",
        "%",
    ),
    "match_rmse": _Definition("RMSE of matches", f"{_RMS}, mean over the matches"),
    "match_rmse_all": _Definition("RMSE, misses at 0.5", f"{_RMS}, mean over all, 0.5 (stol) where there is no match"),
    "metre": _Definition(
        "METRe",
        "true crystals that any prediction of the same reduced composition matches (same tolerances), of all true "
        "crystals",
        "%",
    ),
    "metre_rmse": _Definition("METRe RMSE", f"{_RMS} of the nearest match, mean over the true crystals matched"),
    "same_composition": _Definition(
        "composition met", "predictions with the reduced composition of the true crystal, of all true crystals", "%"
    ),
    "energy_before": _Definition("energy before relaxation, median", "by the calculator of the header", "eV/atom"),
    "energy_after": _Definition("energy after relaxation, median", "by the calculator of the header", "eV/atom"),
    "energy_drop": _Definition(
        "energy drop, median", "before minus after relaxation of positions and cell (FIRE, 0.05 eV/angstrom)", "eV/atom"
    ),
    "relax_volume_change": _Definition("relative volume change, median", "in relaxation, absolute value"),
    "relax_failed": _Definition(
        "not relaxed", "no convergence in 300 steps, time, error; of those tried, the structure valid", "%"
    ),
}
