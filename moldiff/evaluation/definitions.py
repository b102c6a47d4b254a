"""What every number of an evaluation means: its label, its unit, its text and whether it needs hydrogens.

The texts go into the JSON file, so that a number never travels without its definition.
"""

from __future__ import annotations

from typing import NamedTuple

from moldiff.evaluation.crystal_definitions import CRYSTALS, PROTOCOL

__all__ = ["DEFINITIONS", "Definition", "definition"]


class Definition(NamedTuple):
    """One number.

    Attributes:
        label: in tables. text: what exactly is counted or measured, and of what.
        unit: "%" for shares (stored as fractions), else the unit of the value, "" for pure numbers.
        hydrogens: whether it is meaningless where hydrogens are not shown.
    """

    label: str
    text: str
    unit: str = ""
    hydrogens: bool = False


_VALID = (
    "structures whose bonds and charges RDKit's SanitizeMol accepts as drawn (no clean-up), with no implicit "
    "hydrogen and no radicals, of all structures"
)
_OF_GOOD = "over the valid and connected structures"
_PROFILE = "against a random sample of the training set (at most 10,000 molecules)"
_TV = "total variation distance, half the sum of |share - share|, "

DEFINITIONS: dict[str, Definition] = {
    "valid": Definition("valid", _VALID, "%"),
    "connected": Definition("connected", "structures in one fragment, of all structures", "%"),
    "valid_connected": Definition("valid and connected", "valid and in one fragment, of all structures", "%"),
    "valid_connected_published": Definition(
        "valid and connected, as published",
        "the lenient rule of most papers: one fragment, and SanitizeMol raises nothing when implicit hydrogens may "
        "fill open valences; of all structures",
        "%",
    ),
    "atom_stable": Definition(
        "atom stable",
        "atoms whose bond-order sum after kekulising is allowed for their element and formal charge (a pair not in the "
        "table is unstable), of all atoms",
        "%",
        True,
    ),
    "molecule_stable": Definition(
        "molecule stable", "structures all of whose atoms are stable, of all structures", "%", True
    ),
    "unique": Definition("unique, of valid", "distinct molecules among the valid ones, of the valid ones", "%"),
    "novel": Definition("novel, of unique", "distinct valid molecules not in the training set, of the distinct", "%"),
    "vu": Definition("valid x unique", "distinct valid molecules, of all structures", "%"),
    "vun": Definition("valid x unique x novel", "distinct valid molecules not in training, of all structures", "%"),
    "radicals": Definition(
        "with radicals", "structures refused only because an atom has unpaired electrons, of all structures", "%"
    ),
    "net_charge": Definition(
        "with a net charge", "structures whose formal charges do not add up to zero, of all structures", "%"
    ),
    "determine_bonds_valid": Definition(
        "DetermineBonds: valid and connected",
        "structures for which RDKit's DetermineBonds finds bonds that are strictly valid, without radicals and in one "
        "fragment, of all structures (another protocol than the lines above)",
        "%",
    ),
    "determine_bonds_unique": Definition("DetermineBonds: unique", "distinct of those valid by DetermineBonds", "%"),
    "determine_bonds_novel": Definition("DetermineBonds: novel", "not in the training set, of those distinct", "%"),
    "determine_bonds_vun": Definition(
        "DetermineBonds: valid x unique x novel", "distinct, valid by DetermineBonds and novel, of all structures", "%"
    ),
    "mmff_drop": Definition(
        "MMFF94 energy drop, median",
        f"median fall of the MMFF94 energy from the given geometry to its minimum, {_OF_GOOD} with parameters; an "
        "energy that is not finite counts as infinite",
        "kcal/mol",
        True,
    ),
    "mmff_drop_mean": Definition("MMFF94 energy drop, mean", "mean of the finite drops", "kcal/mol", True),
    "mmff_converged": Definition(
        "MMFF94 converged", "minimisations that converged within 1000 iterations, of those tried", "%", True
    ),
    "w1_bond_length": Definition(
        "W1 bond lengths",
        f"1-D Wasserstein distance of bond lengths per type, averaged with the reference's shares, {_PROFILE}",
        "angstrom",
        True,
    ),
    "w1_bond_angle": Definition("W1 bond angles", f"as W1 bond lengths, for bond angles, {_PROFILE}", "degrees", True),
    "w1_torsion": Definition(
        "W1 torsions", f"as W1 bond lengths, for absolute torsions in 0-180 degrees, {_PROFILE}", "degrees", True
    ),
    "mmd_bond": Definition(
        "MMD bond lengths", f"Gaussian-kernel MMD as in JODO over its list of types, {_PROFILE}", "", True
    ),
    "mmd_angle": Definition("MMD bond angles", f"as MMD bond lengths, {_PROFILE}", "", True),
    "mmd_torsion": Definition("MMD torsions", f"as MMD bond lengths, {_PROFILE}", "", True),
    "tv_element": Definition("TV elements", f"{_TV}of atoms by element, {_PROFILE}", "", True),
    "tv_size": Definition("TV sizes", f"{_TV}of molecules by number of atoms, {_PROFILE}", "", True),
    "tv_bond": Definition("TV bonds", f"{_TV}of bonds between heavy atoms by order (aromatic is one), {_PROFILE}"),
    "tv_ring_size": Definition("TV ring sizes", f"{_TV}of rings by size, {_PROFILE}"),
    "w1_qed": Definition("W1 QED", f"1-D Wasserstein distance of QED, {_PROFILE}"),
    "w1_sa": Definition("W1 SA", f"of the synthetic accessibility score, {_PROFILE}"),
    "w1_logp": Definition("W1 logP", f"of Crippen's logP, {_PROFILE}"),
    "w1_weight": Definition("W1 weight", f"of the molecular weight, {_PROFILE}", "g/mol"),
    "snn": Definition("SNN", f"mean Tanimoto similarity (Morgan 2, 1024 bits) to the nearest neighbour, {_PROFILE}"),
    "fragment_similarity": Definition("fragment similarity", f"cosine of BRICS fragment counts, {_PROFILE}"),
    "scaffold_similarity": Definition("scaffold similarity", f"cosine of Murcko scaffold counts, {_PROFILE}"),
    "internal_diversity": Definition(
        "internal diversity", f"1 - mean Tanimoto similarity of all pairs, {_OF_GOOD} (at most 3,000 of them, random)"
    ),
    "fcd": Definition(
        "FCD",
        f"Frechet ChemNet distance, squared as published (ChemNet of fcd_torch), {_OF_GOOD}, {_PROFILE}; it falls "
        "with the number of structures",
    ),
    "in_training": Definition(
        "in the training set", "valid and connected structures whose SMILES is in training, of those", "%"
    ),
    "memorised_rmsd": Definition(
        "RMSD to the training geometry, median",
        "of those in training: smallest heavy-atom RMSD to a training geometry of the same molecule, mirror images "
        "allowed; shipped references keep coordinates to 0.02 angstrom, which adds about 0.01",
        "angstrom",
    ),
    "copied": Definition(
        "copies", "valid and connected structures within 0.1 angstrom RMSD of a training geometry, of those", "%"
    ),
    "xtb_drop": Definition("GFN2-xTB energy drop, median", "median over the relaxed molecules", "kcal/mol", True),
    "xtb_drop_mean": Definition("GFN2-xTB energy drop, mean", "mean over the relaxed molecules", "kcal/mol", True),
    "xtb_rmsd": Definition("GFN2-xTB RMSD, mean", "all atoms, given against relaxed geometry", "angstrom", True),
    "xtb_length_change": Definition("GFN2-xTB |length change|", "mean over molecules", "angstrom", True),
    "xtb_angle_change": Definition("GFN2-xTB |angle change|", "mean over molecules", "degrees", True),
    "xtb_torsion_change": Definition("GFN2-xTB |torsion change|", "mean over molecules", "degrees", True),
    "xtb_graph_changed": Definition(
        "GFN2-xTB changed the bonds",
        "molecules whose bond graph changed, of those relaxed; they stay in the averages",
        "%",
        True,
    ),
    "xtb_failed": Definition("GFN2-xTB failed", "not relaxed (SCF, steps, time, crash), of those tried", "%", True),
    "posebusters": Definition(
        "PoseBusters",
        "structures that pass every test of its `mol` set, of those drawn for it at random; one that is not valid and "
        "connected is drawn like any other and does not pass",
        "%",
        True,
    ),
}

_EDM = {
    "valid": "structures whose graph from EDM's distance table RDKit sanitises, of all structures; the SMILES of the "
    "largest fragment, hydrogens written out, stands for each",
    "atom_stable": "atoms whose bond orders from EDM's distance table (pm; margins 10, 5, 3) add up to H 1, C 4, N 3, "
    "O 2, F 1, of all atoms",
    "novel": "distinct valid molecules not among the training SMILES made through the same table, of the distinct",
    "vun": "distinct valid molecules not among the training SMILES made through the same table, of all structures",
}

_GEOM = _EDM | {
    "valid": "structures whose graph from EDM's distance table, every bond drawn single, RDKit sanitises, of all "
    "structures",
    "atom_stable": "atoms whose bond orders from EDM's distance table (pm; margins 10, 5, 3) add up to a valence its "
    "rules for GEOM-Drugs allow (S 4 only, P 3 or 5), of all atoms",
}


def definition(name: str, protocol: str) -> Definition:
    """The definition of a number under a protocol, "bonds", "edm" or "edm-geom", or of one of "crystals"."""
    if protocol == PROTOCOL:
        return Definition(*CRYSTALS[name])
    if name.startswith("posebusters_"):
        test = name.removeprefix("posebusters_")
        return Definition(
            f"PoseBusters {test}",
            f"PoseBusters test {test!r}, passed of the valid and connected ones tested",
            "%",
            True,
        )
    found = DEFINITIONS[name]
    texts = {"edm": _EDM, "edm-geom": _GEOM}.get(protocol, {})
    if name in texts:
        return found._replace(text=texts[name])
    if texts and "valid and connected" in found.text + found.label and "determine" not in name:
        return found._replace(text=found.text + "; bonds from RDKit's DetermineBonds")
    return found
