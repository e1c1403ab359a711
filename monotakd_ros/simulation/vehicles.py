"""Meshes of cars, vans and trucks: a body lofted from plan outlines, a tapered cabin with windows, wheels, lights.

x is forward; the mesh's extent is exactly the size asked for, so that the label box fits it tightly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.mesh import Mesh, Surface, box, grid, merge, quads, tube

DARK = (0.015, 0.015, 0.017)
TRIM = (0.03, 0.03, 0.032)
GLASS = (0.02, 0.024, 0.027)
PLATE = (0.75, 0.75, 0.72)
HEADLIGHT = (0.40, 0.42, 0.44)
TAIL_LIGHT = (0.5, 0.012, 0.012)
INDICATOR = (0.75, 0.3, 0.03)
RIM = (0.42, 0.43, 0.45)
TYRE = (0.02, 0.02, 0.02)


@dataclass(frozen=True)
class BodyStyle:
    """Proportions of a vehicle; lengths are shares of its length (0 rear, 1 front), heights of its height."""

    cabin_base: tuple[float, float]
    cabin_roof: tuple[float, float]
    belt: float
    hood: tuple[float, float]
    """Height at the front edge and at the windscreen."""
    tail: float
    """Height of the rear deck."""
    wheel_radius_m: float = 0.31
    axles: tuple[float, float] = (0.19, 0.80)
    rear_glass: tuple[float, float] = (0.12, 0.88)
    side_glass: tuple[tuple[float, float], ...] = ((0.07, 0.30), (0.34, 0.60), (0.64, 0.93))


STYLES = {
    "hatchback": BodyStyle((0.02, 0.76), (0.10, 0.54), 0.60, (0.47, 0.60), 0.61),
    "sedan": BodyStyle((0.15, 0.72), (0.29, 0.54), 0.61, (0.46, 0.59), 0.62, axles=(0.20, 0.81)),
    "estate": BodyStyle((0.01, 0.73), (0.06, 0.55), 0.60, (0.47, 0.59), 0.61),
    "suv": BodyStyle((0.02, 0.74), (0.07, 0.56), 0.60, (0.52, 0.60), 0.61, wheel_radius_m=0.35),
    "mpv": BodyStyle((0.01, 0.84), (0.05, 0.60), 0.55, (0.44, 0.54), 0.56),
    "coupe": BodyStyle((0.10, 0.70), (0.27, 0.50), 0.62, (0.45, 0.60), 0.64, side_glass=((0.12, 0.42), (0.46, 0.92))),
    "van": BodyStyle(
        (0.005, 0.90), (0.02, 0.72), 0.48, (0.36, 0.47), 0.48, 0.33, (0.20, 0.83), (0.25, 0.8), ((0.72, 0.95),)
    ),
}
"""Body styles by name."""

CAR_STYLES = ("hatchback", "hatchback", "hatchback", "sedan", "sedan", "estate", "estate", "suv", "mpv", "coupe")
"""Body styles of class Car, as often as they shall occur."""

_MEAN_SIZE = {
    "hatchback": (3.75, 1.62, 1.49),
    "sedan": (4.35, 1.70, 1.45),
    "estate": (4.35, 1.68, 1.50),
    "suv": (4.20, 1.73, 1.70),
    "mpv": (4.15, 1.69, 1.64),
    "coupe": (3.90, 1.62, 1.37),
    "van": (5.10, 1.92, 2.20),
}
_PAINTS = (
    (0.62, 0.63, 0.65),
    (0.36, 0.37, 0.39),
    (0.14, 0.145, 0.15),
    (0.018, 0.019, 0.022),
    (0.78, 0.78, 0.76),
    (0.02, 0.035, 0.11),
    (0.33, 0.02, 0.025),
    (0.05, 0.09, 0.16),
    (0.03, 0.07, 0.045),
    (0.40, 0.36, 0.28),
    (0.16, 0.24, 0.38),
    (0.50, 0.16, 0.03),
)
_PAINT_WEIGHTS = np.array([6, 5, 5, 6, 5, 3, 3, 2, 1, 1.5, 1.5, 0.6])

_LEVEL_INSET = (0.07, 0.015, 0.0, 0.012, 0.03, 0.09)


def random_paint(rng: np.random.Generator) -> np.ndarray:
    """A car colour (3,), linear albedo, drawn as often as seen on streets."""
    base = np.array(_PAINTS[rng.choice(len(_PAINTS), p=_PAINT_WEIGHTS / _PAINT_WEIGHTS.sum())])
    return np.clip(base * rng.uniform(0.8, 1.2) + rng.uniform(-0.01, 0.01, 3), 0.008, 0.85)


def random_size(style: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Length, width, height (m) around the style's mean, spread as in KITTI."""
    length, width, height = _MEAN_SIZE[style]
    return (
        float(np.clip(length + 0.24 * rng.standard_normal(), length - 0.55, length + 0.6)),
        float(np.clip(width + 0.06 * rng.standard_normal(), width - 0.15, width + 0.15)),
        float(np.clip(height + 0.05 * rng.standard_normal(), height - 0.1, height + 0.12)),
    )


def _outline(length: float, width: float) -> np.ndarray:
    """Right half of the plan outline (P, 2) from the rear centre to the front centre, m."""
    rear, front = -0.5 * length, 0.5 * length
    rear_part = [(0.0, 0.0), (0.0, 0.17), (0.02, 0.33), (0.09, 0.425), (0.24, 0.475), (0.55, 0.495)]
    front_part = [(0.75, 0.495), (0.42, 0.47), (0.20, 0.42), (0.07, 0.32), (0.0, 0.17), (0.0, 0.0)]
    middle = np.linspace(rear + 1.0, front - 1.1, 4)
    points = [(rear + x, y * width) for x, y in rear_part]
    points += [(x, 0.5 * width) for x in middle]
    return np.array(points + [(front - x, y * width) for x, y in front_part])


def _top_height(style: BodyStyle, x: np.ndarray, length: float, height: float) -> np.ndarray:
    """Height (same shape as x), m, of the body's upper edge below the cabin."""
    share = x / length + 0.5
    windscreen = style.cabin_base[1]
    knots = [0.0, 0.05, style.cabin_base[0] + 0.06, windscreen, 0.5 * (windscreen + 1), 0.96, 1.0]
    mid_hood = style.hood[1] * 0.62 + style.hood[0] * 0.38
    values = [style.tail - 0.02, style.tail, style.belt, style.hood[1], mid_hood, style.hood[0], style.hood[0] - 0.035]
    return height * np.interp(share, knots, values)


def _body_rings(style: BodyStyle, size: tuple[float, float, float]) -> np.ndarray:
    """Rings (levels 6, P, 3) of the right half of the lower body."""
    length, width, height = size
    outline = _outline(length, width)
    top = _top_height(style, outline[:, 0], length, height)
    fixed = [0.125 * height, 0.20 * height, 0.30 * height, 0.385 * height]
    levels = [np.full(len(outline), z) for z in fixed] + [top - 0.045, top]
    scale_x, scale_y = 0.5 * length, 0.5 * width
    rings = []
    for z, inset in zip(levels, _LEVEL_INSET):
        shrink = np.array([1 - inset / scale_x, 1 - inset / scale_y])
        rings.append(np.column_stack([outline * shrink, z]))
    return np.stack(rings)


def _panel_materials(points: int, paint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (5, P-1, 3) and surface (5, P-1) of the half body's panels: lights, grille, plate, bumpers, paint."""
    colour = np.broadcast_to(paint, (5, points - 1, 3)).copy()
    surface = np.full((5, points - 1), Surface.PAINT, dtype=np.uint8)

    def put(level: int, where: object, value: tuple[float, float, float], kind: Surface) -> None:
        colour[level, where] = value
        surface[level, where] = kind

    last = points - 2
    put(0, slice(None), TRIM, Surface.PLAIN)
    put(3, slice(1, 4), TAIL_LIGHT, Surface.REFLECTOR)
    put(2, 3, INDICATOR, Surface.REFLECTOR)
    put(2, 0, PLATE, Surface.REFLECTOR)
    put(3, slice(last - 3, last), HEADLIGHT, Surface.LAMP)
    put(2, [last, last - 1], DARK, Surface.PLAIN)
    put(1, last, PLATE, Surface.REFLECTOR)
    put(1, last - 1, DARK, Surface.PLAIN)
    return colour, surface


def _body(style: BodyStyle, size: tuple[float, float, float], paint: np.ndarray) -> Mesh:
    rings = _body_rings(style, size)
    colour, surface = _panel_materials(rings.shape[1], paint)
    mirror = np.array([1.0, -1.0, 1.0])
    parts = [grid(side, colour.reshape(-1, 3), surface.ravel(), 45.0) for side in (rings, rings * mirror)]
    edge = rings[-1]
    crown = 0.05 * np.clip(np.abs(edge[:, 1]) / (0.3 * size[1]), 0, 1)
    rows = [
        edge,
        edge * [1, 0.55, 1] + np.outer(crown * 0.75, [0, 0, 1]),
        edge * [1, 0, 1] + np.outer(crown, [0, 0, 1]),
    ]
    deck = np.stack([*rows, rows[1] * mirror, rows[0] * mirror])
    parts.append(grid(deck, paint, Surface.PAINT))
    bottom = rings[0]
    parts.append(grid(np.stack([bottom, bottom * mirror]), DARK))
    return merge(parts)


def _panel(corners: np.ndarray, u: list[float], v: list[float]) -> np.ndarray:
    """Grid (len(v), len(u), 3) over the quad corners (bottom start, bottom end, top end, top start)."""
    u_grid, v_grid = np.meshgrid(u, v)
    u_grid, v_grid = u_grid[..., None], v_grid[..., None]
    bottom = corners[0] * (1 - u_grid) + corners[1] * u_grid
    top = corners[3] * (1 - u_grid) + corners[2] * u_grid
    return bottom * (1 - v_grid) + top * v_grid


def _glazed(
    corners: np.ndarray, windows: tuple[tuple[float, float], ...], v: tuple[float, float], paint: np.ndarray
) -> Mesh:
    """A painted panel with windows: (start, end) shares along its length, between the heights `v`."""
    u_cuts = [0.0, *(cut for window in windows for cut in window), 1.0]
    rows = [0.0, v[0], v[1], 1.0]
    surface = np.full((3, len(u_cuts) - 1), Surface.PAINT, dtype=np.uint8)
    surface[1, 1::2] = Surface.GLASS
    colour = np.where((surface == Surface.GLASS)[..., None], GLASS, np.asarray(paint))
    return grid(_panel(corners, u_cuts, rows), colour.reshape(-1, 3), surface.ravel(), 10.0)


def _cabin(style: BodyStyle, size: tuple[float, float, float], paint: np.ndarray) -> Mesh:
    length, width, height = size
    base_x = [(share - 0.5) * length for share in style.cabin_base]
    roof_x = [(share - 0.5) * length for share in style.cabin_roof]
    base_z = _top_height(style, np.array(base_x), length, height) - 0.015
    roof_z, base_y, roof_y = 0.965 * height, 0.455 * width, 0.375 * width

    def point(x: float, y: float, z: float) -> np.ndarray:
        return np.array([x, y, z])

    base = {
        (i, s): point(base_x[i], s * base_y * (0.93 if i == 0 else 0.9), base_z[i]) for i in (0, 1) for s in (-1, 1)
    }
    roof = {(i, s): point(roof_x[i], s * roof_y * (0.97 if i == 0 else 0.93), roof_z) for i in (0, 1) for s in (-1, 1)}
    middle_base = {s: point(0.5 * sum(base_x), s * base_y, 0.5 * sum(base_z)) for s in (-1, 1)}
    middle_roof = {s: point(0.5 * sum(roof_x), s * roof_y, 0.985 * height) for s in (-1, 1)}
    parts = []
    for side in (-1, 1):
        parts += _cabin_side(style, base, roof, middle_base, middle_roof, side, paint)
    front = np.array([base[1, -1], base[1, 1], roof[1, 1], roof[1, -1]])
    rear = np.array([base[0, -1], base[0, 1], roof[0, 1], roof[0, -1]])
    parts.append(_glazed(front, ((0.05, 0.95),), (0.04, 0.93), paint))
    parts.append(_glazed(rear, ((0.09, 0.91),), style.rear_glass, paint))
    parts.append(_roof(roof, middle_roof, height, paint))
    return merge(parts)


def _cabin_side(
    style: BodyStyle, base: dict, roof: dict, middle_base: dict, middle_roof: dict, side: int, paint: np.ndarray
) -> list[Mesh]:
    """The rear and front half of one flank, its windows split at the middle of the cabin."""
    parts = []
    for half, (low, high) in enumerate(((0.0, 0.5), (0.5, 1.0))):
        windows = tuple(
            ((max(a, low) - low) * 2, (min(b, high) - low) * 2) for a, b in style.side_glass if a < high and b > low
        )
        start_base = base[0, side] if half == 0 else middle_base[side]
        start_roof = roof[0, side] if half == 0 else middle_roof[side]
        end_base = middle_base[side] if half == 0 else base[1, side]
        end_roof = middle_roof[side] if half == 0 else roof[1, side]
        parts.append(_glazed(np.array([start_base, end_base, end_roof, start_roof]), windows, (0.08, 0.86), paint))
    return parts


def _roof(roof: dict, middle_roof: dict, height: float, paint: np.ndarray) -> Mesh:
    rows = []
    for left, right in ((roof[0, 1], roof[0, -1]), (middle_roof[1], middle_roof[-1]), (roof[1, 1], roof[1, -1])):
        centre = 0.5 * (left + right) + [0, 0, 0.02 * height]
        rows.append(
            np.array(
                [
                    left,
                    0.6 * left + 0.4 * centre + [0, 0, 0.006],
                    centre,
                    0.6 * right + 0.4 * centre + [0, 0, 0.006],
                    right,
                ]
            )
        )
    rows[1][2, 2] = height
    return grid(np.stack(rows), paint, Surface.PAINT, 60.0)


def _disc(center: np.ndarray, radius: float, colour: object, surface: Surface = Surface.PLAIN, sides: int = 14) -> Mesh:
    """A disc facing sideways."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    rim = center + radius * np.column_stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)])
    hub = np.broadcast_to(center, rim.shape)
    return grid(np.stack([rim, hub]), colour, surface)


def _spokes(center: np.ndarray, radius: float, count: int) -> Mesh:
    """Dark gaps between the spokes of a rim."""
    angle = np.arange(count) * 2 * np.pi / count
    half = 0.36 * np.pi / count * 1.2
    corners = []
    for a, r in ((angle - half * 0.6, 0.35), (angle - half, 0.85), (angle + half, 0.85), (angle + half * 0.6, 0.35)):
        corners.append(center + radius * r * np.column_stack([np.cos(a), np.zeros_like(a), np.sin(a)]))
    return quads(np.stack(corners, axis=1), DARK)


def _wheels(style: BodyStyle, size: tuple[float, float, float]) -> Mesh:
    length, width, _ = size
    radius, parts = style.wheel_radius_m, []
    for share in style.axles:
        x = (share - 0.5) * length
        for side in (-1, 1):
            face = side * (0.5 * width + 0.004)
            centre = np.array([x, face, radius])
            out = np.array([0.0, side * 0.003, 0.0])
            parts.append(_disc(centre - 2 * out, 1.16 * radius, DARK))
            inner = np.array([x, side * (0.5 * width - 0.2), radius])
            parts.append(tube(inner, centre, radius, radius, TYRE, sides=14))
            parts.append(_disc(centre + out, 0.66 * radius, RIM, Surface.PAINT))
            parts.append(_spokes(centre + 2 * out, 0.66 * radius, 5))
    return merge(parts)


def _fittings(style: BodyStyle, size: tuple[float, float, float], paint: np.ndarray) -> Mesh:
    """Mirrors, door handles, door seams and the sill line."""
    length, width, height = size
    x = (style.cabin_base[1] - 0.5) * length - 0.28
    z = style.belt * height + 0.09
    parts = []
    for side in (-1, 1):
        parts.append(box((x, side * (0.5 * width - 0.075), z), (0.11, 0.15, 0.12), paint, Surface.PAINT))
        for share in (0.36, 0.585):
            handle = ((share - 0.5) * length, side * (0.5 * width - 0.012), 0.50 * height)
            parts.append(box(handle, (0.16, 0.03, 0.028), TRIM))
        for share in (0.30, 0.475, 0.70):
            seam = ((share - 0.5) * length, side * (0.5 * width - 0.005), 0.36 * height)
            parts.append(box(seam, (0.014, 0.02, 0.30 * height), DARK))
    return merge(parts)


def car_mesh(style_name: str, size: tuple[float, float, float], paint: np.ndarray) -> Mesh:
    """A car or van of a named body style whose extent is exactly `size` (length, width, height), m."""
    style = STYLES[style_name]
    parts = [_body(style, size, paint), _cabin(style, size, paint), _wheels(style, size), _fittings(style, size, paint)]
    return merge(parts).fitted(size)


def truck_mesh(size: tuple[float, float, float], paint: np.ndarray, cargo: np.ndarray) -> Mesh:
    """A box truck whose extent is exactly `size`, m."""
    length, width, height = size
    front, cab = 0.5 * length, 1.9
    cab_height = 0.82 * height
    windscreen = box(
        (front - 0.02, 0, 0.68 * cab_height), (0.06, 0.84 * width, 0.34 * cab_height), GLASS, Surface.GLASS
    )
    parts = [
        box(
            (front - 0.5 * cab, 0, 0.5 * cab_height + 0.2), (cab, 0.94 * width, cab_height - 0.4), paint, Surface.PAINT
        ),
        windscreen,
        box((-0.5 * (cab + 0.15), 0, 0.5 * (height + 0.95)), (length - cab - 0.15, width, height - 0.95), cargo),
        box((-0.5 * cab, 0, 0.75), (length - cab, 0.7 * width, 0.35), DARK),
        box((front + 0.01, 0, 0.45), (0.04, 0.6, 0.16), PLATE, Surface.REFLECTOR),
        box((-front - 0.01, 0, 0.8), (0.04, 0.6, 0.16), PLATE, Surface.REFLECTOR),
    ]
    for side in (-1, 1):
        glass = (front - 0.6, side * 0.472 * width, 0.68 * cab_height)
        parts.append(box(glass, (0.75, 0.03, 0.28 * cab_height), GLASS, Surface.GLASS))
        parts.append(box((front + 0.01, side * 0.36 * width, 0.7), (0.05, 0.32, 0.2), HEADLIGHT, Surface.LAMP))
        parts.append(box((-front - 0.01, side * 0.40 * width, 0.85), (0.05, 0.3, 0.22), TAIL_LIGHT, Surface.REFLECTOR))
        for x in (front - 1.0, -front + 1.2, -front + 2.3):
            centre = np.array([x, side * 0.47 * width, 0.46])
            parts.append(tube(centre - [0, side * 0.3, 0], centre, 0.46, 0.46, TYRE, sides=14))
            parts.append(_disc(centre + np.array([0, side * 0.004, 0]), 0.26, RIM))
    return merge(parts).fitted(size)
