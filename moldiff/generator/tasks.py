"""The methods of `Generator` for molecules of which a part or all is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from moldiff.data.trajectory import Trajectory
    from moldiff.generator.given import Model
    from moldiff.generator.results import Molecules
    from moldiff.generator.trajectory import Sized


class Tasks:
    """What a Generator can do when parts are given; abstract, and a base of `Generator` only."""

    def complete(
        self,
        mol: Any,
        keep: Any = None,
        *,
        n_new: int | Sequence[int] = (2, 5),
        n: int = 50,
        seed: int = 0,
        steps: int | None = None,
        attach: Iterable[int] | None = None,
        batch_size: int | None = None,
    ) -> Molecules:
        """Keep some atoms of a molecule where they are and make the others anew: scaffolds, growing, linking.

        Hydrogens follow their heavy atom, but those on attachment atoms are made anew unless they are kept. Attachment
        atoms have a heavy neighbour that is cut off, or an attachment point; where there is none (growing), an atom
        with a hydrogen is drawn for each structure. New hydrogens are counted as cuts of training molecules say.

        Args:
            mol: `rdkit.Chem.Mol` with a conformer. Hydrogens it lacks are added; dummy atoms are attachment points.
            keep: atom indices; a SMARTS, all of whose matched atoms are kept; a Mol whose dummy atoms ``[*]`` are
                attachment points and whose other atoms are kept; None keeps all but the dummy atoms of `mol`.
            n_new: new heavy atoms, a number or (lowest, highest), all equally likely.
            n: structures to draw; the valid and connected ones are returned.
            seed: the same seed and arguments give the same molecules.
            steps: sampler steps.
            attach: indices of the attachment atoms, instead of the rule above.
            batch_size: structures a batch.

        Returns:
            Molecules with report and failures. Kept atoms come first, with the elements, charges and mutual bonds given
            and their very coordinates (so the frame is that of `mol`), and carry their index in `mol` as the integer
            property ``kept``; the Mol's property ``kept`` lists their own indices.

        Raises:
            ValueError: nothing matched, an element the model does not know, more atoms than any molecule trained on,
                n_new below 1, no conformer, or no valence left to attach anything to.
        """
        from moldiff.generator.complete import complete

        return complete(
            cast("Model", self),
            mol,
            keep,
            n_new=n_new,
            n=n,
            seed=seed,
            steps=steps,
            attach=attach,
            batch_size=batch_size,
        )

    def conformers(
        self,
        molecule: Any,
        n: int = 20,
        *,
        seed: int = 0,
        steps: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Conformers of a molecule with the stereochemistry it specifies; what it leaves open is free.

        The network sees no difference between mirror images: a structure with all centres inverted is mirrored, one
        with some right and some wrong is drawn again, as is one whose places do not fit the bonds; at most 20 times
        the number asked for are drawn, and a shortfall is warned of.

        Args:
            molecule: a SMILES, or a Mol (of one with a conformer and no tags, the stereochemistry of the conformer).
            n: conformers.
            seed: the same seed gives the same conformers.
            steps: sampler steps.
            batch_size: structures a batch.

        Returns:
            one `rdkit.Chem.Mol` with all hydrogens and at most n conformers, angstrom. Its integer properties say how
            many were ``asked``, ``drawn`` and ``made``, ``broken`` (bonds) and of ``other_stereo``.

        Raises:
            ValueError: no SMILES, several fragments, radicals, or an element the model does not know.
        """
        from moldiff.generator.conformers import conformers

        return conformers(cast("Model", self), molecule, n=n, seed=seed, steps=steps, batch_size=batch_size)

    def perceive(
        self,
        structures: Any,
        *,
        charge: int | None = None,
        samples: int = 5,
        fallback: bool = False,
        seed: int = 0,
        steps: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Bonds and formal charges from elements and coordinates, hydrogens included.

        Several samples vote: the valid and connected answer that most of them give is returned. Structures larger than
        those trained on are cut into overlapping patches, which the property ``patches`` counts.

        Args:
            structures: `ase.Atoms`, an XYZ file, an RDKit Mol (its bonds are ignored), a pair (atomic numbers,
                positions in angstrom), or a list of these.
            charge: total charge (e) that the answer must have; any by default.
            samples: votes a structure.
            fallback: let RDKit's DetermineBonds answer where no sample is valid (larger molecules than trained on,
                mostly); the property ``source`` says whose answer it is, ``moldiff`` or ``rdkit``.
            seed: the same seed gives the same answer.
            steps: sampler steps; 10 by default, since more change nothing where the places are given.
            batch_size: structures a batch.

        Returns:
            for one structure (or a file of one) an `rdkit.Chem.Mol`, sanitised, atoms in the same order,
            stereochemistry from the coordinates, the share of the votes as the property ``confidence``; or a `Failed`
            with a reason where no sample is valid. A list of such for several.

        Raises:
            ValueError: for something that is no structure, or a file that cannot be read.
        """
        from moldiff.generator.perceive import perceive

        return perceive(
            cast("Model", self),
            structures,
            charge=charge,
            samples=samples,
            fallback=fallback,
            seed=seed,
            steps=steps,
            batch_size=batch_size,
        )

    def trajectory(self, *, seed: int = 0, steps: int | None = None, n_atoms: int | None = None) -> Trajectory:
        """Sample one molecule and keep every step of it; `moldiff.view` makes a movie of what comes back.

        Args:
            seed: the same seed gives the same trajectory; not that of the first molecule of `sample`, whose noise
                depends on its batch.
            steps: sampler steps.
            n_atoms: atoms with hydrogens; drawn as in the training set by default.

        Returns:
            The steps, and the finished molecule as ``structure``, None if it is not valid and in one piece.

        Raises:
            ValueError: for steps or n_atoms below 1.
        """
        from moldiff.generator.trajectory import trajectory

        return trajectory(cast("Sized", self), seed=seed, steps=steps, n_atoms=n_atoms)

    def predict(self, mols: Any, *, batch_size: int | None = None) -> dict[str, NDArray[np.float64]]:
        """Properties of molecules by the model's own property head, one network evaluation each.

        Much cheaper than a calculation, and less exact; the labels it learned from are those that `properties` names.

        Args:
            mols: `rdkit.Chem.Mol` with all hydrogens and a conformer, or a list of them.
            batch_size: structures a batch.

        Returns:
            name -> (number of molecules,) float64, in the units of `properties`.

        Raises:
            ValueError: for a model without properties, something that is no such molecule, or an element or formal
                charge that the model does not know.
        """
        from moldiff.generator.predict import predict

        return predict(cast("Model", self), mols, batch_size=batch_size)
