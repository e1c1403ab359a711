"""Meshes of walking pedestrians and of cyclists, posed by a phase of their stride or pedals (0 to 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.mesh import Mesh, Surface, box, ellipsoid, merge, ring, tube

_SKIN = ((0.55, 0.36, 0.26), (0.48, 0.30, 0.20), (0.30, 0.17, 0.10), (0.14, 0.08, 0.05))
_HAIR = ((0.02, 0.015, 0.01), (0.08, 0.045, 0.02), (0.25, 0.17, 0.07), (0.30, 0.29, 0.28))
_TOPS = (
    (0.03, 0.03, 0.035), (0.55, 0.54, 0.52), (0.32, 0.03, 0.03), (0.04, 0.07, 0.20), (0.08, 0.16, 0.07),
    (0.42, 0.28, 0.06), (0.15, 0.15, 0.16), (0.30, 0.10, 0.22), (0.10, 0.25, 0.34), (0.62, 0.40, 0.05),
)  # fmt: skip
_TROUSERS = ((0.03, 0.045, 0.09), (0.02, 0.02, 0.022), (0.10, 0.13, 0.20), (0.22, 0.18, 0.12), (0.09, 0.09, 0.09))
_SHOES = ((0.02, 0.02, 0.02), (0.12, 0.07, 0.04), (0.5, 0.5, 0.48))


@dataclass(frozen=True)
class Look:
    """Build and clothes of one person."""

    height_m: float
    girth: float
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    top: tuple[float, float, float]
    trousers: tuple[float, float, float]
    shoes: tuple[float, float, float]
    backpack: bool
    skirt: bool


def random_look(rng: np.random.Generator) -> Look:
    """A person as met on a street."""

    def pick(options: tuple) -> tuple[float, float, float]:
        return tuple(float(value) for value in np.array(options[rng.integers(len(options))]) * rng.uniform(0.8, 1.25))

    return Look(
        float(np.clip(rng.normal(1.72, 0.10), 1.45, 1.95)),
        float(rng.uniform(0.88, 1.18)),
        pick(_SKIN),
        pick(_HAIR),
        pick(_TOPS),
        pick(_TROUSERS),
        pick(_SHOES),
        bool(rng.random() < 0.25),
        bool(rng.random() < 0.15),
    )


def _limb(points: list[np.ndarray], radii: list[float], colours: list) -> list[Mesh]:
    """Tubes from joint to joint."""
    return [
        tube(a, b, ra, rb, colour, Surface.CLOTH, 7)
        for a, b, ra, rb, colour in zip(points[:-1], points[1:], radii[:-1], radii[1:], colours)
    ]


def _head(look: Look, neck: np.ndarray, scale: float) -> list[Mesh]:
    centre = neck + np.array([0.015, 0, 0.17]) * scale
    return [
        tube(neck - [0, 0, 0.03], centre, 0.055 * scale, 0.055 * scale, look.skin),
        ellipsoid(centre, np.array([0.095, 0.075, 0.12]) * scale, look.skin),
        ellipsoid(centre + np.array([-0.02, 0, 0.025]) * scale, np.array([0.098, 0.084, 0.115]) * scale, look.hair),
    ]


def _torso(look: Look, hip: np.ndarray, neck: np.ndarray, scale: float) -> list[Mesh]:
    spine = neck - hip
    girth = look.girth * scale
    waist, chest = hip + 0.3 * spine, hip + 0.68 * spine
    parts = [
        ellipsoid(hip, np.array([0.125, 0.165, 0.13]) * girth, look.trousers, Surface.CLOTH),
        ellipsoid(waist, np.array([0.12, 0.15, 0.20]) * girth, look.top, Surface.CLOTH),
        ellipsoid(chest, np.array([0.13, 0.19, 0.25]) * girth, look.top, Surface.CLOTH),
        ellipsoid(hip + 0.88 * spine, np.array([0.085, 0.20, 0.075]) * girth, look.top, Surface.CLOTH),
    ]
    if look.backpack:
        back = chest + np.array([-0.19, 0, 0.0]) * scale
        parts.append(ellipsoid(back, np.array([0.10, 0.15, 0.22]) * scale, look.shoes, Surface.CLOTH))
    return parts


def _two_bone(root: np.ndarray, tip: np.ndarray, upper: float, lower: float, bend: np.ndarray) -> np.ndarray:
    """The joint between two bones from `root` to `tip`, pushed out along `bend`."""
    reach = tip - root
    distance = min(float(np.linalg.norm(reach)), 0.999 * (upper + lower))
    axis = reach / max(float(np.linalg.norm(reach)), 1e-9)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    side = bend - axis * (bend @ axis)
    side /= max(float(np.linalg.norm(side)), 1e-9)
    return root + axis * along + side * np.sqrt(max(upper**2 - along**2, 0.0))


def _foot(ankle: np.ndarray, colour: object, scale: float, pitch: float = 0.0) -> Mesh:
    toe = np.array([0.17 * np.cos(pitch), 0, -0.03 - 0.17 * np.sin(pitch)]) * scale
    return tube(ankle + np.array([-0.06, 0, -0.02]) * scale, ankle + toe, 0.05 * scale, 0.04 * scale, colour, sides=6)


def _legs_walking(look: Look, hip: np.ndarray, phase: float, stride: float, scale: float) -> list[Mesh]:
    parts = []
    for side, offset in ((1, 0.0), (-1, 0.5)):
        swing = np.sin(2 * np.pi * (phase + offset))
        lift = max(0.0, np.cos(2 * np.pi * (phase + offset)))
        root = hip + np.array([0, side * 0.09, -0.02]) * scale
        ankle = np.array([stride * swing * 0.42, side * 0.09, 0.075 + 0.13 * lift * stride]) * scale
        knee = _two_bone(root, ankle, 0.445 * scale, 0.44 * scale, np.array([1.0, 0, 0]))
        shin = look.skin if look.skirt else look.trousers
        parts += _limb([root, knee, ankle], [0.088 * scale, 0.062 * scale, 0.047 * scale], [look.trousers, shin])
        parts.append(_foot(ankle, look.shoes, scale, 0.5 * max(0.0, -swing) * stride))
    if look.skirt:
        parts.append(tube(hip, hip - np.array([0, 0, 0.42]) * scale, 0.15 * scale, 0.23 * scale, look.trousers))
    return parts


def _arms_swinging(look: Look, neck: np.ndarray, phase: float, stride: float, scale: float) -> list[Mesh]:
    parts = []
    for side, offset in ((1, 0.5), (-1, 0.0)):
        swing = np.sin(2 * np.pi * (phase + offset)) * stride
        shoulder = neck + np.array([-0.01, side * 0.195 * look.girth, -0.06]) * scale
        elbow = shoulder + np.array([0.14 * swing, side * 0.04, -0.28]) * scale
        hand = elbow + np.array([0.10 + 0.14 * swing, -side * 0.005, -0.24]) * scale
        parts += _limb([shoulder, elbow, hand], [0.056 * scale, 0.045 * scale, 0.034 * scale], [look.top, look.top])
        parts.append(ellipsoid(hand, np.array([0.045, 0.035, 0.055]) * scale, look.skin, detail=(4, 6)))
    return parts


def pedestrian_mesh(look: Look, phase: float, stride: float = 1.0) -> Mesh:
    """A person at `phase` of the walking cycle; stride 0 stands still."""
    scale = look.height_m / 1.75
    hip = np.array([0.0, 0.0, 0.93 - 0.025 * abs(np.sin(2 * np.pi * phase)) * stride]) * scale
    neck = hip + np.array([0.03, 0.0, 0.52]) * scale
    parts = _torso(look, hip, neck, scale) + _head(look, neck, scale)
    parts += _legs_walking(look, hip, phase, stride, scale) + _arms_swinging(look, neck, phase, stride, scale)
    return merge(parts).fitted()


def _shift(point: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    return point + np.array([x, y, z])


def _bicycle(frame_colour: object) -> list[Mesh]:
    radius = 0.335
    rear, front = np.array([-0.52, 0, radius]), np.array([0.53, 0, radius])
    crank, seat, head = np.array([-0.08, 0, 0.28]), np.array([-0.25, 0, 0.86]), np.array([0.36, 0, 0.86])
    dark = (0.02, 0.02, 0.02)
    parts = []
    for hub in (rear, front):
        parts.append(ring(hub, radius - 0.021, 0.021, dark))
        for turn in range(6):
            a = np.pi * turn / 6
            spoke = (radius - 0.03) * np.array([np.cos(a), 0, np.sin(a)])
            parts.append(tube(hub - spoke, hub + spoke, 0.004, 0.004, (0.4, 0.4, 0.4), sides=3))
    pairs = ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat - [0, 0, 0.08], head), (head, front))
    parts += [tube(a, b, 0.019, 0.019, frame_colour, Surface.PAINT, 6) for a, b in pairs]
    parts.append(tube(head, _shift(head, -0.03, 0, 0.16), 0.016, 0.016, dark, sides=5))
    parts.append(tube(_shift(head, -0.02, -0.29, 0.16), _shift(head, -0.02, 0.29, 0.16), 0.014, 0.014, dark, sides=5))
    parts.append(box(_shift(seat, 0, 0, 0.06), (0.25, 0.15, 0.06), dark))
    parts.append(box(_shift(rear, -0.30, 0, 0.32), (0.03, 0.06, 0.05), (0.5, 0.02, 0.02), Surface.REFLECTOR))
    parts.append(box(_shift(head, 0.05, 0, 0.05), (0.05, 0.06, 0.06), (0.7, 0.7, 0.7), Surface.LAMP))
    return parts


def cyclist_mesh(look: Look, phase: float, frame_colour: tuple[float, float, float], helmet: bool) -> Mesh:
    """A bicycle and its rider at `phase` of the pedals' turn."""
    scale = look.height_m / 1.75
    hip = np.array([-0.24, 0.0, 0.98])
    neck = hip + np.array([0.27, 0, 0.46]) * scale
    parts = _bicycle(frame_colour) + _torso(look, hip, neck, scale) + _head(look, neck, scale)
    for side, offset in ((1, 0.0), (-1, 0.5)):
        a = 2 * np.pi * (phase + offset)
        pedal = np.array([-0.08 + 0.17 * np.cos(a), side * 0.11, 0.30 - 0.17 * np.sin(a)])
        root = hip + np.array([0, side * 0.10, -0.02])
        ankle = pedal + np.array([-0.04, 0, 0.09])
        knee = _two_bone(root, ankle, 0.43 * scale, 0.43 * scale, np.array([1.0, 0, 0.3]))
        parts += _limb([root, knee, ankle], [0.09, 0.062, 0.046], [look.trousers, look.trousers])
        parts.append(_foot(ankle, look.shoes, 1.0))
        shoulder = neck + np.array([-0.01, side * 0.19, -0.06]) * scale
        hand = np.array([0.34, side * 0.27, 1.04])
        elbow = _two_bone(shoulder, hand, 0.30 * scale, 0.28 * scale, np.array([-0.3, side * 0.5, -1.0]))
        parts += _limb([shoulder, elbow, hand], [0.055, 0.044, 0.034], [look.top, look.skin])
    if helmet:
        top = neck + np.array([0.01, 0, 0.225]) * scale
        parts.append(ellipsoid(top, np.array([0.13, 0.095, 0.085]) * scale, frame_colour, Surface.PAINT))
    return merge(parts).fitted()
