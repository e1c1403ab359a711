"""Colour of each surface at a hit: asphalt and markings, slabs, grass, house fronts, leaves. Pure numpy.

Edges are softened over the pixel's footprint, so that markings and windows do not flicker with distance.
Colours are (3, N), channels first, which numpy works through several times faster than (N, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.mesh import Surface
from monotakd_ros.simulation.road import StreetStyle
from monotakd_ros.simulation.texture import NoiseTexture

WHITE_LINE = np.float32([[0.55], [0.55], [0.53]])
DRY_GRASS = np.float32([[0.17], [0.15], [0.07]])
WINDOW_FRAME = np.float32([[0.55], [0.54], [0.52]])
WINDOW_PANE = np.float32([[0.95], [1.0], [1.0]])


@dataclass(eq=False)
class Material:
    """What light meets at N hits; `apply_textures` changes it in place before it is used.

    Attributes:
        albedo: (3, N) float32.
        mirror: (N,) float32 share of light mirrored head-on.
        surface: (N,) uint8.
    """

    albedo: np.ndarray
    mirror: np.ndarray
    surface: np.ndarray


MIRROR = np.zeros(len(Surface), dtype=np.float32)
MIRROR[[Surface.PAINT, Surface.GLASS, Surface.LAMP, Surface.REFLECTOR]] = (0.05, 0.06, 0.14, 0.05)


def _band(x: np.ndarray, low: object, high: object, blur: np.ndarray) -> np.ndarray:
    """1 inside [low, high], 0 outside, ramped over `blur`."""
    blur = np.maximum(blur, 1e-4)
    rise = np.clip((x - low) / blur + 0.5, 0, 1)
    return rise * np.clip((high - x) / blur + 0.5, 0, 1)


def road_albedo(
    uv: np.ndarray, base: np.ndarray, street: StreetStyle, across: np.ndarray, along: np.ndarray, noise: NoiseTexture
) -> np.ndarray:
    """Asphalt with wear and markings at (s, d); footprints `across` and `along` the road, m."""
    s, d = uv
    print_m = np.sqrt(across * along)
    fine, coarse = noise.sample(s, d, print_m), noise.smooth(0.09 * s + 7, 0.13 * d)
    lane = np.abs(d) % street.lane_width - 0.5 * street.lane_width
    track = np.exp(-((np.abs(lane) - 0.75) ** 2) / 0.12) * (np.abs(d) < street.road_edge)
    tone = 1 + 0.16 * fine + 0.20 * coarse - 0.10 * track
    patch = np.sin(np.floor(s / 7.0) * 12.9898 + np.floor(d / street.lane_width) * 78.233) * 43758.5453
    tone = np.where((patch - np.floor(patch) < 0.07) & (np.abs(d) < street.road_edge), tone * 0.76, tone)
    gutter = _band(np.where(d > 0, street.kerb(1) - d, d + street.kerb(-1)), -0.1, 0.25, across)
    albedo = base * (tone * (1 - 0.35 * gutter))
    paint = _markings(s, d, street, across, along) * np.clip(0.75 + 0.5 * fine + 0.3 * coarse, 0.1, 1)
    return albedo + (WHITE_LINE - albedo) * paint


def _markings(s: np.ndarray, d: np.ndarray, street: StreetStyle, across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Share (N,) covered by white paint."""
    dash = _band(s % 9.0, 0.0, 3.0, along)
    paint = _band(d, -0.06, 0.06, across) * (dash if street.centre_dashed else 1.0)
    for lane in range(1, street.lanes):
        paint = np.maximum(paint, _band(np.abs(d) - lane * street.lane_width, -0.06, 0.06, across) * dash)
    if street.edge_lines:
        paint = np.maximum(paint, _band(np.abs(d) - street.road_edge, -0.18, -0.06, across))
    for number, side in street.sides.items():
        if side.parking == "none":
            continue
        beyond = np.clip(number * d - street.road_edge, -1, 1) > 0
        pitch = 6.0 if side.parking == "parallel" else 2.7
        bays = _band(s % pitch, 0.0, 0.1, along) * beyond
        border = _band(number * d - street.road_edge, -0.05, 0.05, across)
        paint = np.maximum(paint, np.maximum(bays, border))
    crossings = np.asarray(street.crossings, dtype=np.float32)
    index = np.clip(np.searchsorted(crossings, s), 1, len(crossings) - 1)
    nearest = np.minimum(np.abs(s - crossings[index]), np.abs(s - crossings[index - 1]))
    zebra = _band(nearest, -1.0, 2.0, along) * _band((d + 50) % 1.0, 0.0, 0.5, across)
    return np.where((nearest < 3.5) & (np.abs(d) < street.road_edge), zebra, paint)


def pavement_albedo(uv: np.ndarray, base: np.ndarray, across: np.ndarray, noise: NoiseTexture) -> np.ndarray:
    """Slabs of half a metre with joints."""
    s, d = uv
    fine = noise.sample(s, d + 3, across)
    slab = np.sin(np.floor(2 * s) * 12.9898 + np.floor(2 * d) * 78.233) * 43758.5453
    slab = slab - np.floor(slab) - 0.5
    fade = np.clip(1.5 - across * 12, 0, 1)
    joint = np.maximum(_band((2 * s) % 1, 0, 0.035, 2 * across), _band((2 * d) % 1, 0, 0.035, 2 * across)) * fade
    return base * ((1 + 0.14 * fine + 0.22 * slab * fade) * (1 - 0.4 * joint))


def grass_albedo(uv: np.ndarray, base: np.ndarray, across: np.ndarray, noise: NoiseTexture) -> np.ndarray:
    """Grass with dry patches."""
    s, d = uv
    fine, coarse = noise.sample(s * 0.7, d * 0.7, across), noise.smooth(0.08 * s, 0.08 * d + 2)
    dry = np.clip(0.4 + 0.7 * coarse, 0, 1)
    tone = np.clip(1 + 0.5 * fine, 0.3, 2)
    return (base + (DRY_GRASS - base) * 0.45 * dry) * tone


def facade_albedo(
    uv: np.ndarray, base: np.ndarray, blur: np.ndarray, noise: NoiseTexture
) -> tuple[np.ndarray, np.ndarray]:
    """House fronts: (albedo (3, N), mirror share (N,)); uv counts windows and floors, `blur` is in the same unit."""
    u, v = uv
    house = np.floor(u / 40.0)
    shape = np.modf(np.abs(np.sin(house * 91.7 + base[0] * 37.0)) * 43.7)[0]
    x, y = u % 1.0, v % 1.0
    ground_floor = v < 1.0
    shop = ground_floor & (shape > 0.6)
    half = np.where(shop, np.float32(0.42), 0.20 + 0.12 * shape)
    low = np.where(shop, np.float32(0.12), np.float32(0.30))
    high = np.where(shape > 0.3, np.float32(0.82), np.float32(0.76))
    glass = _band(x, 0.5 - half, 0.5 + half, blur) * _band(y, low, high, blur)
    frame = _band(x, 0.46 - half, 0.54 + half, blur) * _band(y, low - 0.05, high + 0.03, blur)
    bar = np.maximum(_band(x, 0.485, 0.515, blur), _band(y, low + 0.62 * (high - low), low + 0.66 * (high - low), blur))
    cell = np.modf(np.abs(np.sin(np.floor(u) * 12.99 + np.floor(v) * 78.23)) * 437.5)[0]
    inside = np.where(cell > 0.75, np.float32(0.28), np.where(cell > 0.5, np.float32(0.08), np.float32(0.025)))
    inside = inside * (1 - 0.6 * _band(y, high - 0.06, high, blur))
    stain = noise.sample(u * 2, v * 2, blur * 2)
    ledge = _band(y, 0.0, 0.05, blur) * (v > 0.9)
    wall = base * (1 + 0.10 * stain + 0.10 * ledge - 0.12 * np.exp(-v * 1.5))
    rim = WINDOW_FRAME * (0.5 + 0.5 * shape)
    albedo = wall + (rim - wall) * frame
    pane = glass * (1 - bar)
    return albedo + (WINDOW_PANE * inside - albedo) * pane, 0.12 * pane


def apply_textures(
    material: Material,
    uv: np.ndarray,
    points: np.ndarray,
    footprint: np.ndarray,
    stretch: np.ndarray,
    street: StreetStyle,
    noise: NoiseTexture,
) -> None:
    """Replace the plain colours of textured surfaces, in place.

    Args:
        material: plain colours at N hits.
        uv: (2, N) texture coordinates.
        points: (3, N) the hits, world, m.
        footprint: (N,) size of a pixel across the viewing ray, m.
        stretch: (N,) how much longer it is on the surface along the viewing ray.
        street: markings.
        noise: the noise texture.
    """
    for surface in (Surface.ROAD, Surface.PAVEMENT, Surface.GRASS, Surface.FACADE, Surface.ROOF, Surface.LEAF):
        index = np.flatnonzero(material.surface == surface)
        if not len(index):
            continue
        place, base = np.take(uv, index, axis=1), np.take(material.albedo, index, axis=1)
        across, along = footprint[index], footprint[index] * stretch[index]
        if surface == Surface.ROAD:
            material.albedo[:, index] = road_albedo(place, base, street, across, along, noise)
        elif surface == Surface.PAVEMENT:
            material.albedo[:, index] = pavement_albedo(place, base, np.sqrt(across * along), noise)
        elif surface == Surface.GRASS:
            material.albedo[:, index] = grass_albedo(place, base, np.sqrt(across * along), noise)
        elif surface == Surface.FACADE:
            material.albedo[:, index], material.mirror[index] = facade_albedo(place, base, 0.35 * along, noise)
        elif surface == Surface.LEAF:
            x, y, z = np.take(points, index, axis=1)
            tone = noise.sample(0.4 * (x + y), 0.4 * (z + x - y), 0.4 * across)
            material.albedo[:, index] = base * np.clip(1 + 0.75 * tone, 0.15, 2.5)
        else:
            rows = _band((place[1] * 3) % 1, 0, 0.3, 3 * along)
            grain = noise.sample(place[0], place[1], along)
            material.albedo[:, index] = base * (1 + 0.15 * grain - 0.3 * rows)
