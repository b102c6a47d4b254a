"""Shaded balls and sticks: one structure in 3D by ray casting in NumPy, with no display or graphics library."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]
# one half of a drawn bond: start, end (both (3,), angstrom), radius (angstrom) and the atom it takes its colour from
Stick = tuple[Float, Float, float, int]

SUPERSAMPLING = 2
STICK_RADIUS = 0.11
CELL_RADIUS = 0.03
#: Corners of a unit cell in fractional coordinates, and the pairs of them that an edge joins.
CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
EDGES = [(i, j) for i in range(8) for j in range(i + 1, 8) if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1]
TILT = (np.radians(-22.0), np.radians(18.0))  # about x and y, so that a flat ring still shows its depth
LIGHT = np.array([-0.40, 0.55, 0.75])
HALF_WAY = LIGHT / np.linalg.norm(LIGHT) + np.array([0.0, 0.0, 1.0])  # between the light and the eye (Blinn-Phong)


def render(
    numbers: NDArray[np.integer],
    positions: Float,
    *,
    bonds: NDArray[np.integer],
    size: tuple[int, int],
    cell: Float | None = None,
    rotation: Float | None = None,
    ball: float = 1.0,
    stick: float = 1.0,
    closest: float = 4.5,
) -> NDArray[np.uint8]:
    """Render one structure on white, seen along its shortest principal axis and tilted a little. Never mirrored.

    Args:
        numbers: atomic numbers, (n,) with n >= 1; 0 is an atom whose element is not known yet, drawn in grey.
        positions: coordinates in angstrom, (n, 3), finite.
        bonds: bond orders, (n, n) symmetric: 0 none, 1, 2, 3, and 4 aromatic (drawn as a full and a thin stick).
        size: width and height in pixels.
        cell: rows a, b, c in angstrom (3, 3) of a unit cell to draw from the origin; the view then follows its axes.
        rotation: (3, 3) the view, instead: rows are the directions to the right, up, and to the eye.
        ball, stick: multiply the radii of the balls and of the sticks.
        closest: angstrom that fill the smaller side at least, so that small structures are not blown up.

    Returns:
        The picture, (height, width, 3), 8 bits a channel.

    Raises:
        ValueError: no atoms, or coordinates that are not finite.
    """
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    if len(numbers) == 0:
        raise ValueError("there is no atom to render; leave empty molecules out")
    if not np.isfinite(positions).all():
        raise ValueError("the coordinates are not all finite; leave this molecule out")
    if rotation is None:
        rotation = viewpoint(positions) if cell is None else cell_viewpoint(cell)
    points = positions @ rotation.T
    corners = np.zeros((0, 3)) if cell is None else CORNERS @ cell @ rotation.T
    everything = np.concatenate([points, corners])
    middle = (everything.max(axis=0) + everything.min(axis=0)) / 2
    points, corners = points - middle, corners - middle
    radii = ball * (0.17 + 0.21 * np.where(numbers == 0, covalent_radii[6], covalent_radii[numbers]))
    width, height = (SUPERSAMPLING * side for side in size)
    reach = np.concatenate([np.abs(points[:, :2]) + radii[:, None], np.abs(corners[:, :2]) + CELL_RADIUS])
    # pixels per angstrom: fill the frame, but do not blow up a small molecule
    scale = 0.95 * min(width / 2 / reach[:, 0].max(), height / 2 / reach[:, 1].max(), min(width, height) / closest)

    canvas = _Canvas(width, height, scale)
    colours = 0.12 + 0.88 * jmol_colors[numbers] ** 1.1
    colours[numbers == 6] = 0.38  # darker than Jmol's grey: hydrogens are nearly white
    colours[numbers == 0] = 0.62
    for i, j in EDGES if cell is not None else ():
        # no thinner than a pixel of the finished picture
        canvas.stick(corners[i], corners[j], max(CELL_RADIUS, 0.5 * SUPERSAMPLING / scale), np.full(3, 0.45))
    for point, radius, colour in zip(points, radii, colours, strict=True):
        if radius * scale > 0.3:
            canvas.ball(point, radius, colour)
    for start, end, radius, atom in _sticks(points, bonds):
        canvas.stick(start, end, stick * radius, colours[atom])
    return canvas.picture()


def viewpoint(positions: Float) -> Float:
    """Rotation (3, 3) that lays the longest extent along x and the next along y, then tilts; its determinant is +1."""
    centred = positions - positions.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    rotation = axes.T[::-1].copy()
    rotation[2] *= np.sign(np.linalg.det(rotation))
    return _tilt() @ rotation


def cell_viewpoint(cell: Float) -> Float:
    """Rotation (3, 3) that looks along b with c upwards and a to the right, then tilts; its determinant is +1."""
    up = cell[2] / max(np.linalg.norm(cell[2]), 1e-9)
    right = cell[0] - (cell[0] @ up) * up
    right = right / max(np.linalg.norm(right), 1e-9)
    return _tilt() @ np.stack([right, up, np.cross(right, up)])


def _tilt() -> Float:
    (sin_x, sin_y), (cos_x, cos_y) = np.sin(TILT), np.cos(TILT)
    about_x = np.array([[1, 0, 0], [0, cos_x, -sin_x], [0, sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    return about_x @ about_y


def _sticks(points: Float, bonds: NDArray[np.integer]) -> Iterator[Stick]:
    """Both halves of every stick; a multiple bond is several thinner sticks side by side."""
    for i, j in np.argwhere(np.triu(bonds) > 0):
        order = int(bonds[i, j])
        count = 2 if order == 4 else order
        along = points[j] - points[i]
        # beside one another in the local plane of the molecule, so that they do not hide each other
        aside = _aside(points, bonds, i, j)
        radius = STICK_RADIUS if count == 1 else 0.6 * STICK_RADIUS
        for k in range(count):
            shift = aside * 1.05 * STICK_RADIUS * (2 * k - (count - 1))
            thin = 0.55 * radius if order == 4 and k == 1 else radius
            middle = points[i] + along / 2 + shift
            yield points[i] + shift, middle, thin, int(i)
            yield middle, points[j] + shift, thin, int(j)


def _aside(points: Float, bonds: NDArray[np.integer], i: int, j: int) -> Float:
    """Unit vector across the bond i-j, in the plane of a neighbour where there is one, else across the view."""
    along = points[j] - points[i]
    along = along / max(np.linalg.norm(along), 1e-9)
    others = [k for end, far in ((i, j), (j, i)) for k in np.flatnonzero(bonds[end]) if k != far]
    guides = [points[k] - points[i] for k in others]
    guides += [np.array([-along[1], along[0], 0.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])]
    for guide in guides:
        across = guide - (guide @ along) * along
        length = np.linalg.norm(across)
        if length > 0.2:
            return across / length
    return np.array([0.0, 1.0, 0.0])


class _Canvas:
    """A picture with a depth for each pixel; the eye looks down from +z, parallel rays."""

    def __init__(self, width: int, height: int, scale: float) -> None:
        self.scale = scale
        self.colour = np.ones((height, width, 3))
        self.depth = np.full((height, width), -np.inf)
        self.x = (np.arange(width) + 0.5 - width / 2) / scale
        self.y = (height / 2 - np.arange(height) - 0.5) / scale

    def ball(self, centre: Float, radius: float, colour: Float) -> None:
        """Draw a sphere: centre (3,) and radius in angstrom, colour (3,) in [0, 1]."""
        rows, columns, x, y = self._window(centre - radius, centre + radius)
        dx, dy = (x - centre[0]) / radius, (y - centre[1]) / radius
        beside = dx**2 + dy**2
        dz = np.sqrt(np.clip(1 - beside, 0, None))
        normal = np.stack(np.broadcast_arrays(dx, dy, dz), axis=-1)
        self._draw(rows, columns, hit=beside < 1, depth=centre[2] + radius * dz, normal=normal, colour=colour)

    def stick(self, start: Float, end: Float, radius: float, colour: Float) -> None:
        """Draw an open cylinder from start to end, (3,) each, radius in angstrom, colour (3,) in [0, 1]."""
        length = np.linalg.norm(end - start)
        if length < 1e-6:
            return
        axis = (end - start) / length
        rows, columns, x, y = self._window(np.minimum(start, end) - radius, np.maximum(start, end) + radius)
        # the ray (x, y, t): its part across the axis is a + t b, and |a + t b| = radius on the surface
        ray = np.stack(np.broadcast_arrays(x - start[0], y - start[1], -start[2]), axis=-1)
        a = ray - (ray @ axis)[..., None] * axis
        b = np.array([0.0, 0.0, 1.0]) - axis[2] * axis
        bb, ab = b @ b, a @ b
        if bb < 1e-8:  # along the view: hidden behind its own atoms
            return
        root = ab**2 - bb * ((a**2).sum(axis=-1) - radius**2)
        t = (-ab + np.sqrt(np.clip(root, 0, None))) / bb
        position = ray @ axis + t * axis[2]
        normal = (a + t[..., None] * b) / radius
        self._draw(
            rows,
            columns,
            hit=(root > 0) & (position >= 0) & (position <= length),
            depth=t,
            normal=normal,
            colour=colour,
        )

    def picture(self) -> NDArray[np.uint8]:
        """The finished picture: what lies behind fades a little, pixels are averaged down."""
        shown = np.isfinite(self.depth)
        if shown.any():
            near, far = self.depth[shown].max(), self.depth[shown].min()
            fog = 0.30 * (near - np.where(shown, self.depth, near)) / max(near - far, 3.0)
            self.colour += fog[..., None] * (1 - self.colour)
        height, width = self.depth.shape
        blocks = self.colour.reshape(height // SUPERSAMPLING, SUPERSAMPLING, width // SUPERSAMPLING, SUPERSAMPLING, 3)
        return np.round(255 * np.clip(blocks.mean(axis=(1, 3)), 0, 1)).astype(np.uint8)

    def _window(self, low: Float, high: Float) -> tuple[slice, slice, Float, Float]:
        """Rows, columns and coordinates (as a column and a row to broadcast) of the pixels in a box."""
        columns = slice(*np.searchsorted(self.x, [low[0], high[0]]))
        rows = slice(*np.searchsorted(-self.y, [-high[1], -low[1]]))
        return rows, columns, self.x[columns][None, :], self.y[rows][:, None]

    def _draw(
        self, rows: slice, columns: slice, *, hit: NDArray[np.bool_], depth: Float, normal: Float, colour: Float
    ) -> None:
        """Shade the pixels that are hit and in front, with a dark rim that sets each part off from what lies behind."""
        visible = hit & (depth > self.depth[rows, columns])
        facing = normal[visible]
        diffuse = np.clip(facing @ LIGHT / np.linalg.norm(LIGHT), 0, None)
        gloss = np.clip(facing @ HALF_WAY / np.linalg.norm(HALF_WAY), 0, None) ** 40
        rim = np.clip(facing[:, 2] / 0.35, 0, 1)
        light = (0.42 + 0.62 * diffuse) * (0.45 + 0.55 * rim)
        self.colour[rows, columns][visible] = np.clip(light[:, None] * colour + 0.35 * gloss[:, None], 0, 1)
        self.depth[rows, columns][visible] = depth[visible]
