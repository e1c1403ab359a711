"""From hits to light: sun with shadow rays, sky light with contact shadows, mirrored surroundings, haze."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.contact import ContactShadows
from monotakd_ros.simulation.lighting import Lighting, reflected_surroundings, sky_colour
from monotakd_ros.simulation.mesh import Surface
from monotakd_ros.simulation.road import StreetStyle
from monotakd_ros.simulation.scene import Hits, Scene
from monotakd_ros.simulation.texture import NoiseTexture
from monotakd_ros.simulation.textures import MIRROR, Material, apply_textures

CHUNK = 16_384
"""Hits shaded at a time: small enough for the processor's cache and for cv2.remap (32,766 rows)."""


@dataclass(frozen=True, eq=False)
class Rays:
    """N viewing rays from one point.

    Attributes:
        packed: (N, 6) float32 origin and direction, world, m; the hit's distance counts in the direction's length.
        pixel_angle: width of a pixel, rad.
    """

    packed: np.ndarray
    pixel_angle: float


@dataclass(frozen=True, eq=False)
class Stage:
    """What is in front of the camera at one moment."""

    scene: Scene
    contact: ContactShadows


@dataclass(frozen=True, eq=False)
class Shader:
    """The light of one drive and the looks of its street."""

    light: Lighting
    street: StreetStyle
    noise: NoiseTexture

    def shade(self, stage: Stage, rays: Rays, hits: Hits, pool: Executor) -> np.ndarray:
        """Light (N, 3) float32 arriving along each ray."""
        starts = range(0, len(hits.distance), CHUNK)
        pieces = [slice(start, start + CHUNK) for start in starts]
        prepared = list(pool.map(lambda piece: self._surface(stage.scene, rays, hits, piece), pieces))
        shadow_rays = [piece.shadow_rays for piece in prepared]
        blocked = stage.scene.occluded(np.concatenate(shadow_rays)) if shadow_rays else np.zeros(0, dtype=bool)
        cuts = np.cumsum([len(part) for part in shadow_rays])[:-1]
        lit = pool.map(lambda pair: self._light(stage, *pair), zip(prepared, np.split(blocked, cuts)))
        return np.concatenate(list(lit))

    def _surface(self, scene: Scene, rays: Rays, hits: Hits, piece: slice) -> _Piece:
        origin, directions = rays.packed[piece.start, :3], rays.packed[piece, 3:]
        length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        unit = directions / length[:, None]
        found = np.flatnonzero(hits.triangle[piece] >= 0)
        triangle = hits.triangle[piece][found]
        view, distance = unit[found], (hits.distance[piece] * length)[found]
        bary = hits.uv[piece][found]
        weights = np.column_stack([1 - bary[:, 0] - bary[:, 1], bary])
        normal = np.einsum("nc,nck->nk", weights, np.take(scene.normals, triangle, axis=0))
        normal /= np.maximum(np.sqrt(np.einsum("ij,ij->i", normal, normal)), 1e-6)[:, None]
        facing = np.einsum("ij,ij->i", normal, view)
        normal *= np.where(facing > 0, -1, 1).astype(np.float32)[:, None]
        facing = np.clip(np.abs(facing), 0.02, 1)
        uv = np.einsum("nc,nck->nk", weights, np.take(scene.uv, triangle, axis=0))
        surface = scene.surface[triangle]
        material = Material(np.take(scene.colour, triangle, axis=0), MIRROR[surface], surface)
        point = origin + view * distance[:, None]
        apply_textures(material, uv, point, distance * rays.pixel_angle, 1 / facing, self.street, self.noise)
        sun = normal @ self.light.sun_direction
        sun = np.where(surface == Surface.LEAF, 0.35 + 0.4 * np.abs(sun), np.clip(sun, 0, 1)).astype(np.float32)
        lit = np.flatnonzero((sun > 0) & (self.light.sun[0] > 0))
        shadow_rays = np.empty((len(lit), 6), dtype=np.float32)
        shadow_rays[:, :3] = point[lit] + normal[lit] * np.float32(0.012) - view[lit] * np.float32(0.005)
        shadow_rays[:, 3:] = self.light.sun_direction
        return _Piece(unit, found, view, distance, normal, point, facing, material, sun, lit, shadow_rays)

    def _light(self, stage: Stage, piece: _Piece, blocked: np.ndarray) -> np.ndarray:
        light, material = self.light, piece.material
        sun = np.zeros(len(piece.found), dtype=np.float32)
        sun[piece.lit] = np.where(blocked, 0, piece.sun[piece.lit])
        up = piece.normal[:, 2]
        ground = (light.sky_light + 0.45 * light.sun) * np.float32(0.13)
        share = (0.5 + 0.5 * up)[:, None]
        ambient = light.sky_light * share + ground * (1 - share)
        ambient *= self._openness(piece, stage.contact)[:, None]
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

    def _openness(self, piece: _Piece, contact: ContactShadows) -> np.ndarray:
        """Share of sky light that gets down to a hit: less low on upright faces and on the ground near objects."""
        low = np.clip(piece.point[:, 2] / 0.7, 0, 1)
        upright = 1 - np.abs(piece.normal[:, 2])
        share = 1 - 0.45 * upright * (1 - low)
        ground = np.flatnonzero(np.isin(piece.material.surface, (Surface.ROAD, Surface.PAVEMENT, Surface.GRASS)))
        share[ground] *= contact.openness(piece.point[ground, :2])
        return share

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
