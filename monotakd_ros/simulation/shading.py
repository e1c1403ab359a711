"""From hits to light: sun with shadow rays, sky light with contact shadows, mirrored surroundings, haze."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.lighting import Lighting, reflected_surroundings, sky_colour
from monotakd_ros.simulation.mesh import Surface
from monotakd_ros.simulation.objects import Placed
from monotakd_ros.simulation.road import StreetStyle
from monotakd_ros.simulation.scene import Hits, Scene
from monotakd_ros.simulation.texture import NoiseTexture
from monotakd_ros.simulation.textures import MIRROR, Material, apply_textures

CHUNK = 40_000


@dataclass(frozen=True, eq=False)
class Rays:
    """N viewing rays from one point.

    Attributes:
        origin: (3,) float32 world, m.
        directions: (N, 3) float32 world; the hit's distance counts in their length.
        pixel_angle: width of a pixel, rad.
    """

    origin: np.ndarray
    directions: np.ndarray
    pixel_angle: float

    def packed(self) -> np.ndarray:
        """(N, 6) float32 origin and direction."""
        rays = np.empty((len(self.directions), 6), dtype=np.float32)
        rays[:, :3], rays[:, 3:] = self.origin, self.directions
        return rays


@dataclass(frozen=True, eq=False)
class Shader:
    """The light of one drive and the looks of its street."""

    light: Lighting
    street: StreetStyle
    noise: NoiseTexture

    def shade(self, scene: Scene, rays: Rays, hits: Hits, pool: Executor) -> np.ndarray:
        """Light (N, 3) float32 arriving along each ray."""
        starts = range(0, len(hits.distance), CHUNK)
        pieces = [slice(start, start + CHUNK) for start in starts]
        prepared = list(pool.map(lambda piece: self._surface(scene, rays, hits, piece), pieces))
        shadow_rays = [piece.shadow_rays for piece in prepared]
        blocked = scene.occluded(np.concatenate(shadow_rays)) if shadow_rays else np.zeros(0, dtype=bool)
        cuts = np.cumsum([len(part) for part in shadow_rays])[:-1]
        lit = pool.map(lambda pair: self._light(scene, *pair), zip(prepared, np.split(blocked, cuts)))
        return np.concatenate(list(lit))

    def _surface(self, scene: Scene, rays: Rays, hits: Hits, piece: slice) -> _Piece:
        directions = rays.directions[piece]
        length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        unit = directions / length[:, None]
        found = np.flatnonzero(hits.triangle[piece] >= 0)
        triangle = hits.triangle[piece][found]
        view, distance = unit[found], (hits.distance[piece] * length)[found]
        bary = hits.uv[piece][found]
        weights = np.column_stack([1 - bary[:, 0] - bary[:, 1], bary])
        normal = np.einsum("nc,nck->nk", weights, scene.mesh.normals[triangle])
        normal /= np.maximum(np.sqrt(np.einsum("ij,ij->i", normal, normal)), 1e-6)[:, None]
        facing = np.einsum("ij,ij->i", normal, view)
        normal *= np.where(facing > 0, -1, 1).astype(np.float32)[:, None]
        facing = np.clip(np.abs(facing), 0.02, 1)
        uv = np.einsum("nc,nck->nk", weights, scene.mesh.uv[triangle])
        surface = scene.mesh.surface[triangle]
        material = Material(scene.mesh.colour[triangle], MIRROR[surface], surface)
        apply_textures(material, uv, distance * rays.pixel_angle, 1 / facing, self.street, self.noise)
        point = rays.origin + view * distance[:, None]
        sun = normal @ self.light.sun_direction
        sun = np.where(surface == Surface.LEAF, 0.35 + 0.4 * np.abs(sun), np.clip(sun, 0, 1)).astype(np.float32)
        lit = np.flatnonzero((sun > 0) & (self.light.sun[0] > 0))
        shadow_rays = np.empty((len(lit), 6), dtype=np.float32)
        shadow_rays[:, :3] = point[lit] + normal[lit] * np.float32(0.012) - view[lit] * np.float32(0.005)
        shadow_rays[:, 3:] = self.light.sun_direction
        return _Piece(unit, found, view, distance, normal, point, facing, material, sun, lit, shadow_rays)

    def _light(self, scene: Scene, piece: _Piece, blocked: np.ndarray) -> np.ndarray:
        light, material = self.light, piece.material
        sun = np.zeros(len(piece.found), dtype=np.float32)
        sun[piece.lit] = np.where(blocked, 0, piece.sun[piece.lit])
        up = piece.normal[:, 2]
        ground = (light.sky_light + 0.45 * light.sun) * np.float32(0.13)
        share = (0.5 + 0.5 * up)[:, None]
        ambient = light.sky_light * share + ground * (1 - share)
        ambient *= self._openness(piece)[:, None]
        colour = material.albedo * (light.sun * sun[:, None] + ambient)
        glossy = np.flatnonzero(material.mirror > 0)
        if len(glossy):
            colour[glossy] += self._gloss(piece, glossy, sun[glossy])
        haze = 1 - np.exp(-piece.distance / np.float32(light.visibility_m))
        colour += (light.horizon * np.float32(0.8) - colour) * haze[:, None]
        result = np.empty_like(piece.unit)
        result[piece.found] = colour
        sky = np.ones(len(result), dtype=bool)
        sky[piece.found] = False
        result[sky] = sky_colour(light, piece.unit[sky], self.noise)
        return result

    def _openness(self, piece: _Piece) -> np.ndarray:
        """Share of sky light that gets down to a hit; less close to the ground on upright faces."""
        low = np.clip(piece.point[:, 2] / 0.7, 0, 1)
        upright = 1 - np.abs(piece.normal[:, 2])
        return 1 - 0.45 * upright * (1 - low)

    def _gloss(self, piece: _Piece, index: np.ndarray, sun: np.ndarray) -> np.ndarray:
        view, normal = piece.view[index], piece.normal[index]
        facing = piece.facing[index]
        mirrored = view + 2 * facing[:, None] * normal
        base = piece.material.mirror[index]
        share = base + (1 - base) * (1 - facing) ** 5
        colour = reflected_surroundings(self.light, mirrored) * share[:, None]
        spark = np.clip(mirrored @ self.light.sun_direction, 0, 1) ** 220 * (sun > 0)
        return colour + (spark * share * 40)[:, None] * self.light.sun


@dataclass(frozen=True, eq=False)
class _Piece:
    """Hits of one chunk between the two passes, around the shadow rays."""

    unit: np.ndarray
    found: np.ndarray
    view: np.ndarray
    distance: np.ndarray
    normal: np.ndarray
    point: np.ndarray
    facing: np.ndarray
    material: Material
    sun: np.ndarray
    lit: np.ndarray
    shadow_rays: np.ndarray


def contact_shadow(points: np.ndarray, placed: Placed) -> np.ndarray:
    """Share of sky light (N,) left at ground points (N, 2) near or under an object."""
    offset = points - placed.position[:2].astype(np.float32)
    cos, sin = np.float32(np.cos(placed.heading)), np.float32(np.sin(placed.heading))
    along = np.abs(offset[:, 0] * cos + offset[:, 1] * sin) - 0.5 * placed.shape.size[0] + 0.15
    across = np.abs(offset[:, 1] * cos - offset[:, 0] * sin) - 0.5 * placed.shape.size[1] + 0.1
    outside = np.hypot(np.maximum(along, 0), np.maximum(across, 0))
    inside = np.minimum(np.maximum(along, across), 0)
    reach = 0.22 * placed.shape.size[2]
    return 1 - 0.85 * np.exp(-outside / reach) * np.clip(0.75 - inside, 0.75, 1)
