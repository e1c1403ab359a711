"""Triangle meshes of the simulated world: a soup of triangles with shading normals, texture coordinates and colour.

Object meshes stand on z = 0, centred in x and y, with x forward, y left, z up, metres. Winding does not matter:
shading turns normals towards the viewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

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
        rotation = rotation_about_z(heading)
        corners = self.corners @ rotation.T.astype(np.float32) + np.asarray(position, dtype=np.float32)
        return replace(self, corners=corners.astype(np.float32), normals=self.normals @ rotation.T.astype(np.float32))

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


def shading_normals(corners: np.ndarray, crease_deg: float = CREASE_DEG) -> np.ndarray:
    """Normals (F, 3, 3): the mean over triangles that meet at a point at less than the crease angle."""
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face /= np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-12)
    own = np.repeat(face, 3, axis=0)
    cells = np.round(corners.reshape(-1, 3).astype(np.float64) * 1000).astype(np.int64) + (1 << 20)
    key = (cells[:, 0] << 42) + (cells[:, 1] << 21) + cells[:, 2]
    order = np.argsort(key, kind="stable")
    key, normal = key[order], own[order]
    total, limit = normal.copy(), np.cos(np.radians(crease_deg))
    for shift in range(1, min(13, len(key))):
        dot = np.einsum("ij,ij->i", normal[shift:], normal[:-shift])
        weight = np.where((key[shift:] == key[:-shift]) & (np.abs(dot) > limit), np.sign(dot), 0.0)[:, None]
        total[shift:] += weight * normal[:-shift]
        total[:-shift] += weight * normal[shift:]
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    result = np.empty_like(total)
    result[order] = total
    return result.reshape(-1, 3, 3).astype(np.float32)


def _spread(value: object, count: int, dtype: type) -> np.ndarray:
    array = np.asarray(value, dtype=dtype)
    return np.broadcast_to(array, (count, *array.shape[-1:])) if dtype is np.float32 else np.broadcast_to(array, count)


def triangles(
    corners: np.ndarray,
    colour: object,
    surface: object = Surface.PLAIN,
    uv: np.ndarray | None = None,
    crease_deg: float = CREASE_DEG,
) -> Mesh:
    """A mesh from corners (F, 3, 3); colour (3,) or (F, 3), surface one code or (F,), uv (F, 3, 2) or none."""
    corners = np.asarray(corners, dtype=np.float32)
    count = len(corners)
    return Mesh(
        corners,
        shading_normals(corners, crease_deg),
        np.zeros((count, 3, 2), dtype=np.float32) if uv is None else np.asarray(uv, dtype=np.float32),
        np.array(_spread(colour, count, np.float32)),
        np.array(_spread(surface, count, np.uint8)),
    )


def quads(
    points: np.ndarray,
    colour: object,
    surface: object = Surface.PLAIN,
    uv: np.ndarray | None = None,
    crease_deg: float = CREASE_DEG,
) -> Mesh:
    """Two triangles per quad (Q, 4, 3), corners in turn; colour (3,) or (Q, 3), surface one or (Q,), uv (Q, 4, 2)."""
    points = np.asarray(points, dtype=np.float32).reshape(-1, 4, 3)
    pick = np.array([[0, 1, 2], [0, 2, 3]])
    colour, surface = np.asarray(colour, dtype=np.float32), np.asarray(surface, dtype=np.uint8)
    return triangles(
        points[:, pick].reshape(-1, 3, 3),
        np.repeat(colour, 2, axis=0) if colour.ndim == 2 else colour,
        np.repeat(surface, 2) if surface.ndim == 1 else surface,
        None if uv is None else np.asarray(uv)[:, pick].reshape(-1, 3, 2),
        crease_deg,
    )


def grid(points: np.ndarray, colour: object, surface: object = Surface.PLAIN, crease_deg: float = CREASE_DEG) -> Mesh:
    """The surface through a grid of points (M, N, 3); colour and surface per cell, row by row, or one for all."""
    cells = np.stack([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=2)
    return quads(cells.reshape(-1, 4, 3), colour, surface, None, crease_deg)


def box(center: object, size: object, colour: object, surface: Surface = Surface.PLAIN) -> Mesh:
    """An axis-aligned block."""
    x, y, z = 0.5 * np.asarray(size, dtype=np.float64)
    p = np.array([[-x, -y, -z], [x, -y, -z], [x, y, -z], [-x, y, -z], [-x, -y, z], [x, -y, z], [x, y, z], [-x, y, z]])
    faces = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
    return quads((p + np.asarray(center))[faces], colour, surface)


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
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
    side = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    angle = np.linspace(0, 2 * np.pi, sides + 1)[:, None]
    ring = np.cos(angle) * side + np.sin(angle) * np.cross(axis, side)
    middle = np.zeros_like(ring)
    rows = [a + middle, a + radius_start * ring, b + radius_end * ring, b + middle]
    return grid(np.stack(rows), colour, surface, 50.0)


def ellipsoid(
    center: object, radii: object, colour: object, surface: Surface = Surface.PLAIN, detail: tuple[int, int] = (6, 10)
) -> Mesh:
    """An ellipsoid with `detail` (rings, sides)."""
    polar = np.linspace(0, np.pi, detail[0] + 1)[:, None]
    azimuth = np.linspace(0, 2 * np.pi, detail[1] + 1)[None, :]
    unit = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar) * np.ones_like(azimuth)],
        axis=-1,
    )
    return grid(np.asarray(center) + np.asarray(radii) * unit, colour, surface, 70.0)
