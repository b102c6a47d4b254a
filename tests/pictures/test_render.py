"""The ray caster: size, hidden surfaces, handedness, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from moldiff.pictures.render import render, viewpoint

NO_BOND = np.zeros((1, 1), dtype=np.int64)


def test_one_ball_is_round_centred_and_shaded() -> None:
    picture = render(np.array([8]), np.array([[3.0, -2.0, 5.0]]), bonds=NO_BOND, size=(300, 200))
    assert picture.shape == (200, 300, 3) and picture.dtype == np.uint8
    covered = (picture < 250).any(axis=-1)
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    assert rows.min() + rows.max() == 199 and columns.min() + columns.max() == 299
    assert abs(len(rows) - len(columns)) <= 1
    assert covered.sum() == pytest.approx(np.pi / 4 * len(rows) * len(columns), rel=0.05)
    assert len(np.unique(picture[covered][:, 0])) > 10


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_bond_joins_its_atoms(order: int) -> None:
    apart = np.array([[0.0, 0.0, 0.0], [2.4, 0.0, 0.0]])
    bonds = np.array([[0, order], [order, 0]])
    with_bond = render(np.array([6, 7]), apart, bonds=bonds, size=(300, 200))
    without = render(np.array([6, 7]), apart, bonds=np.zeros_like(bonds), size=(300, 200))
    middle = slice(149, 151)
    assert (without[:, middle] == 255).all()
    # one run of dark pixels for each stick across the bond
    dark = (with_bond[:, middle] < 200).any(axis=(1, 2))
    assert dark.any()
    runs = int((np.diff(dark.astype(int)) == 1).sum())
    assert runs == {1: 1, 2: 2, 3: 3, 4: 2}[order]


def test_the_nearer_ball_hides_the_other() -> None:
    from moldiff.pictures.render import _Canvas

    red, blue = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
    pictures = []
    for first, second in (((0.0, red), (2.0, blue)), ((2.0, blue), (0.0, red))):
        canvas = _Canvas(40, 40, 15.0)
        for depth, colour in (first, second):
            canvas.ball(np.array([0.0, 0.0, depth]), 1.0, colour)
        pictures.append(canvas.picture())
    assert np.array_equal(*pictures)
    assert pictures[0][10, 10, 2] > pictures[0][10, 10, 0]


def test_the_view_is_a_rotation_never_a_mirror_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rotation = viewpoint(rng.normal(size=(6, 3)) * [3.0, 2.0, 1.0])
        assert np.allclose(rotation @ rotation.T, np.eye(3))
        assert np.linalg.det(rotation) == pytest.approx(1)
    for flat in (np.zeros((1, 3)), np.array([[0.0, 0, 0], [0, 0, 1]])):
        assert np.linalg.det(viewpoint(flat)) == pytest.approx(1)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no atom to render"):
        render(np.zeros(0, dtype=int), np.zeros((0, 3)), bonds=np.zeros((0, 0), dtype=int), size=(40, 40))
    with pytest.raises(ValueError, match="not all finite"):
        render(np.array([6]), np.array([[0.0, np.nan, 0.0]]), bonds=NO_BOND, size=(40, 40))
