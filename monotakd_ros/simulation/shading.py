"""From hits to light: sun with shadow rays, sky light with contact shadows, mirrored surroundings, haze."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.contact import ContactShadows
from monotakd_ros.simulation.lighting import Lighting, column, reflected_surroundings, sky_colour
from monotakd_ros.simulation.mesh import Surface
from monotakd_ros.simulation.road import StreetStyle
from monotakd_ros.simulation.scene import Hits, Scene
from monotakd_ros.simulation.texture import NoiseTexture
from monotakd_ros.simulation.textures import MIRROR, Material, apply_textures

_IS_GROUND = np.isin(np.arange(len(Surface)), (Surface.ROAD, Surface.PAVEMENT, Surface.GRASS))
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
        """The first pass: what was hit, and the rays to the sun that tell whether it is lit."""
        origin = rays.packed[piece.start, :3, None]
        unit = np.ascontiguousarray(rays.packed[piece, 3:].T)
        length = _length(unit)
        unit /= length
        found = np.flatnonzero(hits.triangle[piece] >= 0)
        triangle = hits.triangle[piece][found]
        view, distance = np.take(unit, found, axis=1), (hits.distance[piece] * length)[found]
        second, third = hits.uv[piece][found].T
        weights = np.stack([1 - second - third, second, third])
        normal = np.einsum("cn,nck->kn", weights, np.take(scene.normals, triangle, axis=0))
        facing = np.einsum("kn,kn->n", normal, view)
        normal /= np.copysign(np.maximum(_length(normal), 1e-6), -facing)
        facing = np.clip(-np.einsum("kn,kn->n", normal, view), 0.02, 1)
        uv = np.einsum("cn,nck->kn", weights, np.take(scene.uv, triangle, axis=0))
        surface = scene.surface[triangle]
        material = Material(np.take(scene.colour, triangle, axis=0).T.copy(), MIRROR[surface], surface)
        point = origin + view * distance
        apply_textures(material, uv, point, distance * rays.pixel_angle, 1 / facing, self.street, self.noise)
        sun = self.light.sun_direction @ normal
        sun = np.where(surface == Surface.LEAF, 0.35 + 0.4 * np.abs(sun), np.clip(sun, 0, 1))
        lit = np.flatnonzero((sun > 0) & (self.light.sun[0] > 0))
        shadow_rays = np.empty((len(lit), 6), dtype=np.float32)
        shadow_rays[:, :3] = np.take(point + normal * np.float32(0.012) - view * np.float32(0.005), lit, axis=1).T
        shadow_rays[:, 3:] = self.light.sun_direction
        return _Piece(unit, found, view, distance, normal, point, facing, material, sun, lit, shadow_rays)

    def _light(self, stage: Stage, piece: _Piece, blocked: np.ndarray) -> np.ndarray:
        """The second pass: light (N, 3) of one chunk, given which rays to the sun are blocked."""
        light, material = self.light, piece.material
        sun = np.zeros(len(piece.found), dtype=np.float32)
        sun[piece.lit] = np.where(blocked, 0, piece.sun[piece.lit])
        sky_light, sunlight = column(light.sky_light), column(light.sun)
        ground = (sky_light + 0.45 * sunlight) * np.float32(0.13)
        ambient = ground + (sky_light - ground) * (0.5 + 0.5 * piece.normal[2])
        ambient *= self._openness(piece, stage.contact)
        colour = material.albedo * (sunlight * sun + ambient)
        glossy = np.flatnonzero(material.mirror > 0)
        if len(glossy):
            colour[:, glossy] += self._gloss(piece, glossy, sun[glossy])
        haze = 1 - np.exp(-piece.distance / np.float32(light.visibility_m))
        colour += (column(light.horizon) * np.float32(0.8) - colour) * haze
        result = np.empty((piece.unit.shape[1], 3), dtype=np.float32)
        result[piece.found] = colour.T
        sky = np.ones(len(result), dtype=bool)
        sky[piece.found] = False
        result[sky] = sky_colour(light, piece.unit[:, sky], self.noise).T
        return result

    def _openness(self, piece: _Piece, contact: ContactShadows) -> np.ndarray:
        """Share of sky light that gets down to a hit: less low on upright faces and on the ground near objects."""
        low = np.clip(piece.point[2] / 0.7, 0, 1)
        upright = 1 - np.abs(piece.normal[2])
        share = 1 - 0.45 * upright * (1 - low)
        ground = np.flatnonzero(_IS_GROUND[piece.material.surface])
        share[ground] *= contact.openness(np.take(piece.point[:2], ground, axis=1))
        return share

    def _gloss(self, piece: _Piece, index: np.ndarray, sun: np.ndarray) -> np.ndarray:
        view, normal = np.take(piece.view, index, axis=1), np.take(piece.normal, index, axis=1)
        facing = piece.facing[index]
        mirrored = view + 2 * facing * normal
        base = piece.material.mirror[index]
        share = base + (1 - base) * (1 - facing) ** 5
        spark = np.clip(self.light.sun_direction @ mirrored, 0, 1) ** 220 * (sun > 0)
        return share * (reflected_surroundings(self.light, mirrored) + 40 * spark * column(self.light.sun))


def _length(vectors: np.ndarray) -> np.ndarray:
    """Lengths (N,) of vectors (3, N)."""
    return np.sqrt(np.einsum("kn,kn->n", vectors, vectors))


@dataclass(frozen=True, eq=False)
class _Piece:
    """Hits of one chunk between the two passes, around the shadow rays; vectors and colours are (3, N)."""

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
