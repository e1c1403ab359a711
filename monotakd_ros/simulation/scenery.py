"""Meshes of what stands still and is not labelled: ground, kerbs, buildings, trees, hedges, poles."""

from __future__ import annotations

import numpy as np

from monotakd_ros.simulation.mesh import Mesh, Surface, box, ellipsoid, merge, quads, triangles, tube
from monotakd_ros.simulation.road import Road, StreetStyle

KERB_HEIGHT_M = 0.12
GROUND_REACH_M = 75.0
_BARK = (0.075, 0.055, 0.04)
_METAL = (0.25, 0.26, 0.27)
_WALLS = (
    (0.52, 0.48, 0.38), (0.60, 0.58, 0.54), (0.45, 0.30, 0.18), (0.30, 0.11, 0.075), (0.38, 0.36, 0.33),
    (0.58, 0.47, 0.25), (0.33, 0.40, 0.44), (0.24, 0.16, 0.12), (0.66, 0.65, 0.62), (0.50, 0.38, 0.30),
)  # fmt: skip
_ROOFS = ((0.22, 0.06, 0.035), (0.10, 0.06, 0.05), (0.06, 0.06, 0.065), (0.27, 0.10, 0.05))


def strip(
    road: Road, s: tuple[float, float], d: tuple[float, float], z: tuple[float, float], colour: object, kind: Surface
) -> Mesh:
    """A band of ground along the road between two offsets and their heights; uv is (s, d)."""
    cuts = np.linspace(s[0], s[1], max(2, int(np.ceil((s[1] - s[0]) / 5)) + 1))
    left_x, left_y = road.to_world(cuts, d[0])
    right_x, right_y = road.to_world(cuts, d[1])
    left = np.column_stack([left_x, left_y, np.full_like(cuts, z[0])])
    right = np.column_stack([right_x, right_y, np.full_like(cuts, z[1])])
    points = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    s0, s1 = cuts[:-1, None], cuts[1:, None]
    along = np.concatenate([s0, s1, s1, s0], axis=1)
    across = np.broadcast_to([d[0], d[0], d[1], d[1]], along.shape)
    return quads(points, colour, kind, np.stack([along, across], axis=-1))


def ground(road: Road, street: StreetStyle, s: tuple[float, float], slab_colour: object) -> Mesh:
    """Road, kerbs, pavements and grass between two s."""
    parts = [strip(road, s, (-street.kerb(-1), street.kerb(1)), (0.0, 0.0), [street.asphalt] * 3, Surface.ROAD)]
    top = KERB_HEIGHT_M
    for side in (-1, 1):
        kerb, end = street.kerb(side), street.pavement_end(side)
        grass = (0.09, 0.13, 0.035)
        parts += [
            strip(road, s, (side * kerb, side * kerb), (0.0, top), (0.30, 0.30, 0.29), Surface.PLAIN),
            strip(road, s, (side * kerb, side * (kerb + 0.16)), (top, top), (0.34, 0.34, 0.33), Surface.PLAIN),
            strip(road, s, (side * (kerb + 0.16), side * end), (top, top), slab_colour, Surface.PAVEMENT),
            strip(road, s, (side * end, side * GROUND_REACH_M), (top, top), grass, Surface.GRASS),
        ]
    return merge(parts)


def backdrop_ground(center: np.ndarray) -> Mesh:
    """A wide field below everything, 1 km around `center` (2,)."""
    reach = 1000.0
    corners = np.array([[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]]) + center
    points = np.column_stack([corners, np.full(4, -0.06)])[None]
    return quads(points, (0.09, 0.11, 0.045), Surface.GRASS, corners[None])


def building(width: float, depth: float, floors: int, rng: np.random.Generator, pitched: bool) -> Mesh:
    """A house whose street front lies on y = 0 (facing -y), x centred; facade uv counts windows and floors."""
    floor_height, pitch = rng.uniform(2.9, 3.5), rng.uniform(2.0, 3.3)
    height = floors * floor_height + 0.4
    wall = np.clip(np.array(_WALLS[rng.integers(len(_WALLS))]) * rng.uniform(0.7, 1.1), 0.04, 0.75)
    offset = float(rng.integers(1, 400))
    x = 0.5 * width
    plan = np.array([[-x, 0.0], [x, 0.0], [x, depth], [-x, depth]])
    sides, uvs = [], []
    for index in range(4):
        a, b = plan[index], plan[(index + 1) % 4]
        count = max(1.0, round(float(np.linalg.norm(b - a)) / pitch))
        sides.append([[*a, 0.0], [*b, 0.0], [*b, height], [*a, height]])
        top = height / floor_height
        uvs.append([[offset, 0.0], [offset + count, 0.0], [offset + count, top], [offset, top]])
    parts = [quads(np.array(sides), wall, Surface.FACADE, np.array(uvs))]
    parts.append(box((0, -0.04, 0.25), (width, 0.1, 0.5), wall * 0.55))
    parts += _roof(width, depth, height, rng, pitched)
    return merge(parts)


def _roof(width: float, depth: float, height: float, rng: np.random.Generator, pitched: bool) -> list[Mesh]:
    colour = np.array(_ROOFS[rng.integers(len(_ROOFS))]) * rng.uniform(0.8, 1.3)
    x, eave = 0.5 * width + 0.15, 0.35
    if not pitched:
        return [box((0, 0.5 * depth, height + 0.15), (2 * x, depth + 2 * eave, 0.3), colour * 0.8 + 0.05)]
    ridge = height + rng.uniform(0.3, 0.5) * depth
    low, middle, high = -eave, 0.5 * depth, depth + eave
    base = height - 0.1
    slopes = [
        [[-x, low, base], [x, low, base], [x, middle, ridge], [-x, middle, ridge]],
        [[-x, high, base], [x, high, base], [x, middle, ridge], [-x, middle, ridge]],
    ]
    uv = np.array([[0, 0], [2 * x, 0], [2 * x, depth], [0, depth]])
    gables = [
        [[s * (x - 0.15), 0, height], [s * (x - 0.15), depth, height], [s * (x - 0.15), middle, ridge]] for s in (-1, 1)
    ]
    parts = [quads(np.array(slopes), colour, Surface.ROOF, np.stack([uv, uv]))]
    parts.append(triangles(np.array(gables), (0.45, 0.42, 0.38)))
    parts.append(box((0, low + 0.05, base), (2 * x, 0.14, 0.14), (0.2, 0.2, 0.2)))
    if rng.random() < 0.5:
        parts.append(box((rng.uniform(-0.3, 0.3) * width, middle + 0.6, ridge), (0.6, 0.6, 1.6), (0.25, 0.11, 0.08)))
    return parts


def leaves(clusters: np.ndarray, count: int, size: float, colour: np.ndarray, rng: np.random.Generator) -> Mesh:
    """Leafy triangles around the shells of ellipsoid clusters (K, 6: centre, radii); darker inside and below."""
    pick = rng.integers(len(clusters), size=count)
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    depth = rng.uniform(0.55, 1.0, count) ** 0.5
    centre = clusters[pick, :3] + clusters[pick, 3:] * direction * depth[:, None]
    spread = rng.standard_normal((count, 3, 3)) * size
    tone = (0.45 + 0.55 * depth) * (0.85 + 0.3 * direction[:, 2]) * rng.uniform(0.65, 1.35, count)
    hue = colour * (1 + 0.12 * rng.standard_normal((count, 3)))
    mesh = triangles(centre[:, None] + spread, np.clip(hue * tone[:, None], 0.005, 0.6), Surface.LEAF)
    normals = np.broadcast_to(direction[:, None], mesh.normals.shape).astype(np.float32)
    return Mesh(mesh.corners, np.array(normals), mesh.uv, mesh.colour, mesh.surface)


def tree(height: float, rng: np.random.Generator) -> Mesh:
    """A broad-leaved tree."""
    crown = height * rng.uniform(0.30, 0.42)
    trunk = height * rng.uniform(0.24, 0.36)
    lean = rng.normal(0, 0.02, 2) * height
    top = np.array([*lean, trunk + 0.5 * crown])
    middle = np.array([*lean, 0.5 * (trunk + height)])
    count = int(rng.integers(5, 9))
    offsets = rng.uniform(-1, 1, (count, 3)) * [0.55 * crown, 0.55 * crown, 0.30 * (height - trunk)]
    radii = rng.uniform(0.4, 0.62, (count, 1)) * crown * [1, 1, 0.85]
    clusters = np.column_stack([middle + offsets, radii])
    colour = (
        np.array([0.075, 0.115, 0.03]) * rng.uniform(0.6, 1.3) * [rng.uniform(0.8, 1.5), 1.0, rng.uniform(0.7, 1.1)]
    )
    parts = [tube((0, 0, -0.1), top, 0.024 * height, 0.014 * height, _BARK, sides=7)]
    for cluster in clusters[:4]:
        parts.append(tube(top - [0, 0, 0.35 * crown], cluster[:3], 0.010 * height, 0.004 * height, _BARK, sides=5))
    inner = clusters * np.array([1, 1, 1, 0.62, 0.62, 0.62])
    parts.append(leaves(inner, 60 * count, 0.048 * height**0.8, colour * 0.5, rng))
    parts.append(leaves(clusters, 260 * count, 0.019 * height**0.8, colour, rng))
    return merge(parts)


def bush(length: float, width: float, height: float, rng: np.random.Generator) -> Mesh:
    """A hedge along x or, when short, a round bush."""
    count = max(1, round(length / max(width, 0.6)))
    x = (np.arange(count) + 0.5) / count * length - 0.5 * length
    radii = np.broadcast_to([0.75 * length / count, 0.5 * width, 0.5 * height], (count, 3))
    centre = np.column_stack([x, np.zeros(count), np.full(count, 0.5 * height)])
    colour = np.array([0.05, 0.085, 0.025]) * rng.uniform(0.7, 1.4)
    core = box((0, 0, 0.44 * height), (0.98 * length, 0.66 * width, 0.88 * height), colour * 0.55, Surface.LEAF)
    return merge(
        [
            core,
            leaves(
                np.column_stack([centre, radii]),
                int(70 * count * max(1, height / 2)),
                0.05 + 0.02 * height,
                colour,
                rng,
            ),
        ]
    )


def lamp_post(rng: np.random.Generator) -> Mesh:
    """A street lamp whose arm points to +y."""
    height = rng.uniform(5.5, 8.5)
    return merge([
        tube((0, 0, 0), (0, 0, height), 0.08, 0.05, _METAL),
        tube((0, 0, height), (0, 1.5, height + 0.25), 0.04, 0.035, _METAL, sides=6),
        box((0, 1.6, height + 0.24), (0.22, 0.7, 0.12), (0.35, 0.36, 0.36)),
    ])  # fmt: skip


def sign_post(rng: np.random.Generator) -> Mesh:
    """A traffic sign facing -x."""
    height = rng.uniform(2.2, 2.7)
    colour = [(0.5, 0.02, 0.02), (0.03, 0.09, 0.42), (0.7, 0.7, 0.68), (0.65, 0.5, 0.03)][rng.integers(4)]
    plate = ellipsoid((-0.05, 0, height), (0.015, 0.31, 0.31), colour, Surface.REFLECTOR, (8, 12))
    face = ellipsoid((-0.065, 0, height), (0.01, 0.2, 0.2), (0.75, 0.75, 0.73), Surface.REFLECTOR, (8, 12))
    return merge([tube((0, 0, 0), (0, 0, height + 0.3), 0.035, 0.035, _METAL, sides=6), plate, face])


def bollard() -> Mesh:
    """A short post."""
    return tube((0, 0, 0), (0, 0, 0.9), 0.06, 0.05, (0.05, 0.05, 0.055))


def bin_box(rng: np.random.Generator) -> Mesh:
    """A wheeled bin."""
    colour = [(0.03, 0.03, 0.035), (0.04, 0.09, 0.04), (0.05, 0.07, 0.16), (0.3, 0.22, 0.03)][rng.integers(4)]
    return merge([box((0, 0, 0.52), (0.55, 0.55, 1.0), colour), box((0, 0, 1.05), (0.62, 0.6, 0.06), colour)])


def fence(length: float, rng: np.random.Generator) -> Mesh:
    """A garden wall or fence along x."""
    if rng.random() < 0.5:
        height = rng.uniform(0.5, 1.2)
        colour = np.array(_WALLS[rng.integers(len(_WALLS))]) * 0.8
        return merge([box((0, 0, 0.5 * height), (length, 0.22, height), colour),
                      box((0, 0, height + 0.03), (length, 0.3, 0.07), colour * 0.7)])  # fmt: skip
    colour = [(0.16, 0.10, 0.06), (0.05, 0.06, 0.05), (0.45, 0.45, 0.43)][rng.integers(3)]
    slats = np.arange(-0.5 * length, 0.5 * length, 0.24)
    parts = [box((x, 0, 0.5), (0.12, 0.03, 1.0), colour) for x in slats]
    return merge(
        [*parts, box((0, 0.03, 0.3), (length, 0.04, 0.08), colour), box((0, 0.03, 0.8), (length, 0.04, 0.08), colour)]
    )
