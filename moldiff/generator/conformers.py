"""Conformers: a molecule given whole, its places generated, with the stereochemistry asked for.

The network sees no difference between mirror images, so a structure whose centres are all inverted is mirrored, and
one with some right and some wrong is drawn again.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from moldiff.data.batching import mix
from moldiff.diffusion.tasks import given_fields
from moldiff.generator.given import Model, settings, to_state, walk

#: At most this many times the number asked for are drawn.
DRAW_LIMIT = 20
#: Bonded atoms lie within these multiples of the sum of their covalent radii; others further apart than the second.
SHORTEST, LONGEST = 0.7, 1.3
APART = 1.05


def conformers(
    generator: Model,
    molecule: Any,
    *,
    n: int = 20,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int | None = None,
) -> Any:
    """Conformers of a molecule; see `moldiff.generator.Generator.conformers`."""
    from rdkit import Chem

    size = generator._check(n, batch_size)
    mol = prepared(molecule)
    arrays = plain(mol)
    largest = max(map(int, generator.config.sizes))
    if len(arrays) > largest:
        warnings.warn(
            f"{len(arrays)} atoms are more than the {largest} of the largest molecule trained on", stacklevel=3
        )
    to_state([arrays], [len(arrays)], generator.alphabets)  # an unknown element is told at once
    sampler = settings(generator, steps)
    reference = Chem.Mol(mol)
    mol.RemoveAllConformers()
    drawn = broken = other = 0
    while mol.GetNumConformers() < n and drawn < DRAW_LIMIT * n:
        made = mol.GetNumConformers()
        want = n if drawn == 0 else max(8, round(1.2 * (n - made) * drawn / max(made, 1)))
        want = min(want, DRAW_LIMIT * n - drawn)
        state = to_state([arrays] * want, [len(arrays)] * want, generator.alphabets)
        given = given_fields(state, ("elements", "charges", "bonds"))
        for _, done in walk(generator, state, given, seed=mix(seed, drawn), batch_size=size, sampler=sampler):
            for positions in done.field("positions").double().numpy():
                drawn += 1
                if not sound(arrays, positions):
                    broken += 1
                    continue
                matching = with_stereo(reference, positions)
                if matching is None:
                    other += 1
                elif mol.GetNumConformers() < n:
                    add(mol, matching)
    made = mol.GetNumConformers()
    for name, value in (("asked", n), ("drawn", drawn), ("made", made), ("broken", broken), ("other_stereo", other)):
        mol.SetIntProp(name, value)
    if made < n:
        warnings.warn(
            f"{made} of {n} conformers after drawing {drawn}: {broken} did not fit the bonds, {other} had another "
            "stereochemistry; more steps may help",
            stacklevel=3,
        )
    return mol


def prepared(molecule: Any) -> Any:
    """The molecule with all its hydrogens, from a SMILES or a Mol.

    Raises:
        ValueError: for a SMILES that cannot be read, fragments, or radicals.
    """
    from rdkit import Chem, rdBase

    if isinstance(molecule, str):
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(molecule)
        if mol is None:
            raise ValueError(f"{molecule!r} is no SMILES that RDKit reads")
    else:
        mol = Chem.Mol(molecule)
        Chem.SanitizeMol(mol)
        if mol.GetNumConformers() and not Chem.MolToSmiles(mol).count("@"):
            Chem.AssignStereochemistryFrom3D(mol)
    text = Chem.MolToSmiles(mol)
    if mol.GetNumAtoms() == 0 or len(Chem.GetMolFrags(mol)) > 1:
        raise ValueError(f"{text!r} is not one molecule: give its fragments one by one")
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        raise ValueError(f"{text!r} has unpaired electrons: give closed-shell molecules")
    return Chem.AddHs(mol)


def plain(mol: Any) -> Any:
    """Elements, charges and perceived bonds of a molecule as arrays, all places zero."""
    from moldiff.molecules.convert import Arrays, kekule_orders, perceive_aromatic

    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    charges = np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()])
    bonds = perceive_aromatic(numbers, charges, kekule_orders(mol))
    return Arrays(numbers, np.zeros((len(numbers), 3)), charges, bonds)


def sound(arrays: Any, positions: np.ndarray) -> bool:
    """Whether places fit the bonds: bonded atoms near, others apart, by covalent radii."""
    from rdkit import Chem

    if not np.isfinite(positions).all():
        return False
    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRcovalent(int(number)) for number in arrays.numbers])
    ratio = np.linalg.norm(positions[:, None] - positions[None], axis=-1) / (radii[:, None] + radii[None])
    upper = np.triu(np.ones_like(ratio, dtype=bool), 1)
    bonded, others = ratio[upper & (arrays.bonds > 0)], ratio[upper & (arrays.bonds == 0)]
    return bool(((bonded > SHORTEST) & (bonded < LONGEST)).all() and (others > APART).all())


def add(mol: Any, positions: np.ndarray) -> None:
    """Append a conformer."""
    from rdkit import Chem

    conformer = Chem.Conformer(len(positions))
    conformer.SetPositions(np.ascontiguousarray(positions))
    conformer.Set3D(True)
    mol.AddConformer(conformer, assignId=True)


def with_stereo(reference: Any, positions: np.ndarray) -> np.ndarray | None:
    """The places, or their mirror image, if they have the stereochemistry that a molecule specifies; else None.

    Args:
        reference: molecule with tags on the centres and double bonds that matter; the others are free.
        positions: (n, 3) angstrom.
    """
    from rdkit import Chem

    mol = Chem.Mol(reference)
    mol.RemoveAllConformers()
    add(mol, positions)
    if not all(same_side(bond, positions) for bond in reference.GetBonds()):
        return None
    Chem.AssignAtomChiralTagsFromStructure(mol, replaceExistingTags=True)
    wanted = {
        atom.GetIdx(): atom.GetChiralTag()
        for atom in reference.GetAtoms()
        if atom.GetChiralTag() in (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
    }
    right = [mol.GetAtomWithIdx(i).GetChiralTag() == tag for i, tag in wanted.items()]
    if all(right):
        return positions
    flat = Chem.ChiralType.CHI_UNSPECIFIED
    if any(right) or any(mol.GetAtomWithIdx(i).GetChiralTag() == flat for i in wanted):
        return None
    return positions * np.array([-1.0, 1.0, 1.0])


def same_side(bond: Any, positions: np.ndarray) -> bool:
    """Whether a double bond has the configuration that it specifies, if any."""
    from rdkit import Chem

    kinds = Chem.BondStereo
    cis, trans = (kinds.STEREOZ, kinds.STEREOCIS), (kinds.STEREOE, kinds.STEREOTRANS)
    if bond.GetStereo() not in (*cis, *trans):
        return True
    first, second = bond.GetStereoAtoms()
    begin, end = positions[bond.GetBeginAtomIdx()], positions[bond.GetEndAtomIdx()]
    axis = end - begin
    axis = axis / np.linalg.norm(axis)
    one, two = positions[first] - begin, positions[second] - end
    together = float((one - one @ axis * axis) @ (two - two @ axis * axis))
    return together > 0 if bond.GetStereo() in cis else together < 0
