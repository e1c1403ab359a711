"""Triangle meshes of the simulated world: a soup of triangles with shading normals, texture coordinates and colour.

Object meshes stand on z = 0, centred in x and y, with x forward, y left, z up, metres. Winding does not matter:
shading turns normals towards the viewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

import numpy as np

from monotakd_ros.geometry.transforms import rotation_about_z

CREASE_DEG = 38.0


class Surface(IntEnum):
    """What a triangle is made of; decides its texture, gloss and LiDAR return."""

    PLAIN = 0
    ROAD = 1
    PAVEMENT = 2
    GRASS = 3
    FACADE = 4
    LEAF = 5
    PAINT = 6
    GLASS = 7
    REFLECTOR = 8
    ROOF = 9
    CLOTH = 10
    LAMP = 11


@dataclass(frozen=True, eq=False)
class Mesh:
    """F triangles.

    Attributes:
        corners: (F, 3, 3) float32, m.
        normals: (F, 3, 3) float32 unit shading normal at each corner.
        uv: (F, 3, 2) float32 texture coordinates at each corner; their meaning depends on the surface.
        colour: (F, 3) float32 linear albedo.
        surface: (F,) uint8 `Surface` code.
    """

    corners: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    colour: np.ndarray
    surface: np.ndarray

    def __len__(self) -> int:
        return len(self.surface)

    @property
    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest coordinates, each (3,)."""
        points = self.corners.reshape(-1, 3)
        return points.min(axis=0), points.max(axis=0)

    def placed(self, position: np.ndarray, heading: float) -> Mesh:
        """Turned by `heading` about +z, then moved by `position` (3,) m."""
        rotation = rotation_about_z(heading).T.astype(np.float32)
        corners = self.corners.reshape(-1, 3) @ rotation + np.asarray(position, dtype=np.float32)
        normals = self.normals.reshape(-1, 3) @ rotation
        return replace(self, corners=corners.reshape(-1, 3, 3), normals=normals.reshape(-1, 3, 3))

    def fitted(self, size: tuple[float, float, float] | None = None) -> Mesh:
        """Centred over the origin, standing on z = 0, and stretched so that its extent is exactly `size`."""
        low, high = self.extent
        scale = np.ones(3) if size is None else np.asarray(size) / (high - low)
        offset = np.array([0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), low[2]])
        return replace(self, corners=((self.corners - offset) * scale).astype(np.float32))


def merge(meshes: Iterable[Mesh]) -> Mesh:
    """All triangles of `meshes` (at least one) as one mesh, in order."""
    parts = list(meshes)
    names = ("corners", "normals", "uv", "colour", "surface")
    return Mesh(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.sqrt(np.einsum("...i,...i->...", vectors, vectors)), 1e-12)[..., None]


def face_normals(corners: np.ndarray) -> np.ndarray:
    """Unit normals (F, 3) of triangles (F, 3, 3)."""
    a, b = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    cross = np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis=1)
    return _unit(cross)


def _corner_angles(corners: np.ndarray) -> np.ndarray:
    """Angle (F, 3), rad, of each triangle at each corner."""
    edges = _unit(np.roll(corners, -1, axis=1) - corners)
    cosine = -np.einsum("fci,fci->fc", edges, np.roll(edges, 1, axis=1))
    return np.arccos(np.clip(cosine, -1, 1))


def smooth_normals(corners: np.ndarray, crease_deg: float = CREASE_DEG) -> np.ndarray:
    """Normals (F, 3, 3): the mean, weighted by angle, of triangles that meet at less than the crease angle."""
    own = np.repeat(face_normals(corners), 3, axis=0)
    cells = np.round(corners.reshape(-1, 3).astype(np.float64) * 1000).astype(np.int64) + (1 << 20)
    key = (cells[:, 0] << 42) + (cells[:, 1] << 21) + cells[:, 2]
    order = np.argsort(key, kind="stable")
    key, normal = key[order], own[order]
    weighted = normal * _corner_angles(corners).reshape(-1, 1)[order]
    total, limit = weighted.copy(), np.cos(np.radians(crease_deg))
    for shift in range(1, min(13, len(key))):
        dot = np.einsum("ij,ij->i", normal[shift:], normal[:-shift])
        sign = np.where((key[shift:] == key[:-shift]) & (np.abs(dot) > limit), np.sign(dot), 0.0)[:, None]
        total[shift:] += sign * weighted[:-shift]
        total[:-shift] += sign * weighted[shift:]
    result = np.empty_like(total)
    result[order] = _unit(total)
    return result.reshape(-1, 3, 3)


def _spread(value: object, count: int, dtype: type) -> np.ndarray:
    array = np.asarray(value, dtype=dtype)
    return np.broadcast_to(array, (count, *array.shape[-1:])) if dtype is np.float32 else np.broadcast_to(array, count)


def triangles(
    corners: np.ndarray,
    colour: object,
    surface: object = Surface.PLAIN,
    uv: np.ndarray | None = None,
    normals: np.ndarray | None = None,
) -> Mesh:
    """A mesh from corners (F, 3, 3); colour (3,) or (F, 3), surface one code or (F,).

    uv (F, 3, 2) is zero and normals (F, 3, 3) are the flat faces' unless given.
    """
    corners = np.asarray(corners, dtype=np.float32)
    count = len(corners)
    if normals is None:
        normals = np.repeat(face_normals(corners)[:, None], 3, axis=1)
    return Mesh(
        corners,
        np.asarray(normals, dtype=np.float32),
        np.zeros((count, 3, 2), dtype=np.float32) if uv is None else np.asarray(uv, dtype=np.float32),
        np.array(_spread(colour, count, np.float32)),
        np.array(_spread(surface, count, np.uint8)),
    )


_QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def quads(
    points: np.ndarray,
    colour: object,
    surface: object = Surface.PLAIN,
    uv: np.ndarray | None = None,
    normals: np.ndarray | None = None,
) -> Mesh:
    """Two triangles per quad (Q, 4, 3), corners in turn; colour (3,) or (Q, 3), surface one or (Q,).

    uv (Q, 4, 2) is zero and normals (Q, 4, 3) are the flat faces' unless given.
    """
    points = np.asarray(points, dtype=np.float32).reshape(-1, 4, 3)
    colour, surface = np.asarray(colour, dtype=np.float32), np.asarray(surface, dtype=np.uint8)
    return triangles(
        points[:, _QUAD].reshape(-1, 3, 3),
        np.repeat(colour, 2, axis=0) if colour.ndim == 2 else colour,
        np.repeat(surface, 2) if surface.ndim == 1 else surface,
        None if uv is None else np.asarray(uv)[:, _QUAD].reshape(-1, 3, 2),
        None if normals is None else np.asarray(normals)[:, _QUAD].reshape(-1, 3, 3),
    )


def _cells(grid_points: np.ndarray) -> np.ndarray:
    """The quads (Q, 4, 3) between the points of a grid (M, N, 3)."""
    p = grid_points
    return np.stack([p[:-1, :-1], p[1:, :-1], p[1:, 1:], p[:-1, 1:]], axis=2).reshape(-1, 4, 3)


def grid(points: np.ndarray, colour: object, surface: object = Surface.PLAIN, crease_deg: float = CREASE_DEG) -> Mesh:
    """The smooth surface through a grid of points (M, N, 3); colour and surface per cell (row by row) or for all."""
    mesh = quads(_cells(points), colour, surface)
    return replace(mesh, normals=smooth_normals(mesh.corners, crease_deg).astype(np.float32))


def shell(points: np.ndarray, normals: np.ndarray, colour: object, surface: Surface = Surface.PLAIN) -> Mesh:
    """The surface through a grid of points (M, N, 3) whose normals (M, N, 3) are known."""
    return quads(_cells(points), colour, surface, None, _cells(normals))


def box(center: object, size: object, colour: object, surface: Surface = Surface.PLAIN) -> Mesh:
    """An axis-aligned block."""
    x, y, z = 0.5 * np.asarray(size, dtype=np.float64)
    p = np.array([[-x, -y, -z], [x, -y, -z], [x, y, -z], [-x, y, -z], [-x, -y, z], [x, -y, z], [x, y, z], [-x, y, z]])
    faces = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
    return quads((p + np.asarray(center))[faces], colour, surface)


@lru_cache(maxsize=16)
def _unit_tube(sides: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of a closed tube's triangles: end (F, 3) 0 or 1, rim (F, 3) 0 centre or 1, ring (F, 3, 2), wall (F,) bool."""
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    here, there = np.arange(sides), np.arange(sides) + 1
    zero, one = np.zeros(sides, dtype=np.int64), np.ones(sides, dtype=np.int64)
    end = np.concatenate([np.stack(rows, 1) for rows in ((zero, one, one), (zero, one, zero), (zero,) * 3, (one,) * 3)])
    index = np.concatenate([np.stack(rows, 1) for rows in ((here, here, there), (here, there, there))] * 2)
    index[2 * sides :] = np.tile(np.stack([here, here, there], 1), (2, 1))
    rim = np.ones((4 * sides, 3))
    rim[2 * sides :, 0] = 0
    ring_xy = np.stack([np.cos(turn[index]), np.sin(turn[index])], axis=-1)
    return end, rim, ring_xy, np.arange(4 * sides) < 2 * sides


def tube(
    start: object,
    end: object,
    radius_start: float,
    radius_end: float,
    colour: object,
    surface: Surface = Surface.PLAIN,
    sides: int = 8,
) -> Mesh:
    """A closed, tapered cylinder from `start` to `end` (each (3,) m)."""
    ends = np.array([start, end], dtype=np.float64)
    ex, ey, ez = _unit(ends[1] - ends[0])
    frame = np.array([[ey, -ex, 0.0], [ex * ez, ey * ez, -ex * ex - ey * ey]])
    if abs(ez) >= 0.9:
        frame = np.array([[0.0, ez, -ey], [-ey * ey - ez * ez, ex * ey, ex * ez]])
    at_end, rim, ring_xy, wall = _unit_tube(sides)
    around = ring_xy @ _unit(frame)
    radius = np.array([radius_start, radius_end])[at_end] * rim
    normals = np.where(wall[:, None, None], around, np.array([ex, ey, ez]))
    return triangles(ends[at_end] + radius[..., None] * around, colour, surface, None, normals)


def ring(center: object, radius: float, thickness: float, colour: object, segments: int = 20, sides: int = 5) -> Mesh:
    """A torus in the x-z plane: a bicycle tyre of outer radius `radius` + `thickness`."""
    turn = np.linspace(0, 2 * np.pi, segments + 1)[:, None, None]
    around = np.linspace(0, 2 * np.pi, sides + 1)[None, :, None]
    spoke = np.concatenate([np.cos(turn), np.zeros_like(turn), np.sin(turn)], axis=2)
    normals = np.cos(around) * spoke + np.sin(around) * np.array([0.0, 1.0, 0.0])
    return shell(np.asarray(center) + radius * spoke + thickness * normals, normals, colour)


@lru_cache(maxsize=16)
def _unit_sphere(rings: int, sides: int) -> np.ndarray:
    """Corners (F, 3, 3) of a sphere's triangles."""
    polar = np.linspace(0, np.pi, rings + 1)[:, None]
    azimuth = np.linspace(0, 2 * np.pi, sides + 1)[None, :]
    x, y = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth)
    points = np.stack([x, y, np.cos(polar) * np.ones_like(azimuth)], axis=-1)
    return _cells(points)[:, _QUAD].reshape(-1, 3, 3)


def ellipsoid(
    center: object, radii: object, colour: object, surface: Surface = Surface.PLAIN, detail: tuple[int, int] = (6, 10)
) -> Mesh:
    """An ellipsoid with `detail` (rings, sides)."""
    unit, radii = _unit_sphere(*detail), np.asarray(radii, dtype=np.float64)
    return triangles(np.asarray(center) + radii * unit, colour, surface, None, _unit(unit / radii))
