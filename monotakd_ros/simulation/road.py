"""The road's centre line and cross-section: positions as (s along, d to the left of) the centre line, metres.

Traffic keeps to the right, so the ego lane lies at d < 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP_M = 1.0
START_M = -150.0
"""The centre line begins this far before s = 0, so that there is road behind the first frame."""


class Road:
    """A gently curving centre line, starting at the world origin along +x at s = 0."""

    def __init__(self, length_m: float, max_curvature: float, rng: np.random.Generator) -> None:
        self._s = np.arange(START_M, length_m + 400.0, STEP_M)
        wavelengths = rng.uniform([90, 160, 300], [160, 300, 700])
        phases = rng.uniform(0, 2 * np.pi, 3)
        weights = rng.dirichlet([1.0, 1.0, 1.0])
        waves = np.sin(2 * np.pi * self._s[:, None] / wavelengths + phases)
        curvature = max_curvature * waves @ weights
        heading = np.cumsum(curvature) * STEP_M
        origin = round(-START_M / STEP_M)
        self._heading = heading - heading[origin]
        x = np.cumsum(np.cos(self._heading)) * STEP_M
        y = np.cumsum(np.sin(self._heading)) * STEP_M
        self._x, self._y = x - x[origin], y - y[origin]

    def heading(self, s: np.ndarray | float) -> np.ndarray:
        """Direction of the centre line, rad, same shape as s."""
        return np.interp(s, self._s, self._heading)

    def to_world(self, s: np.ndarray | float, d: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """World x and y, m, of road coordinates (broadcast together)."""
        heading = self.heading(s)
        x = np.interp(s, self._s, self._x) - d * np.sin(heading)
        y = np.interp(s, self._s, self._y) + d * np.cos(heading)
        return x, y


@dataclass(frozen=True)
class RoadSide:
    """One side of the street, from its outermost lane outwards; lengths in m."""

    parking: str
    """ "none", "parallel" or "angled"."""
    parking_angle: float
    """Heading of angled parked cars against the road, rad."""
    parking_fill: float
    """Share of bays that are taken."""
    pavement_width: float
    verge_width: float
    setback: float
    people_per_100m: float
    kinds: tuple[str, ...]
    """What stands behind the pavement, block after block: "terrace", "houses" or "park"."""

    @property
    def parking_depth(self) -> float:
        return {"none": 0.0, "parallel": 2.25, "angled": 5.0}[self.parking]


@dataclass(frozen=True)
class StreetStyle:
    """What one drive's street looks like."""

    lane_width: float
    lanes: int
    sides: dict[int, RoadSide]
    """-1 right, +1 left."""
    asphalt: float
    centre_dashed: bool
    edge_lines: bool
    crossings: tuple[float, ...]
    """s of zebra crossings, m."""

    @property
    def road_edge(self) -> float:
        """Half the width of the lanes, m."""
        return self.lanes * self.lane_width

    def kerb(self, side: int) -> float:
        """|d| of the kerb, m."""
        return self.road_edge + self.sides[side].parking_depth

    def pavement_end(self, side: int) -> float:
        """|d| where the pavement ends, m."""
        return self.kerb(side) + self.sides[side].pavement_width


def _random_side(rng: np.random.Generator) -> RoadSide:
    angle = float(rng.choice([np.pi / 2, -np.pi / 2, np.radians(60), np.radians(-60), np.radians(45), np.radians(120)]))
    kinds = tuple(str(kind) for kind in rng.choice(["terrace", "houses", "park"], 8, p=[0.42, 0.36, 0.22]))
    return RoadSide(
        parking=str(rng.choice(["none", "parallel", "angled"], p=[0.2, 0.53, 0.27])),
        parking_angle=angle,
        parking_fill=float(rng.uniform(0.35, 0.85)),
        pavement_width=float(rng.uniform(2.0, 3.6)),
        verge_width=float(rng.choice([0.0, rng.uniform(1.0, 4.0)])),
        setback=float(rng.uniform(0.0, 4.0)),
        people_per_100m=float(rng.uniform(2.0, 11.0)),
        kinds=kinds,
    )


def random_street(length_m: float, rng: np.random.Generator) -> StreetStyle:
    """Draw a street."""
    crossings = np.cumsum(rng.uniform(60, 220, int(length_m / 60) + 4)) - 40
    return StreetStyle(
        lane_width=float(rng.uniform(3.1, 3.8)),
        lanes=int(rng.choice([1, 2], p=[0.75, 0.25])),
        sides={-1: _random_side(rng), 1: _random_side(rng)},
        asphalt=float(rng.uniform(0.085, 0.17)),
        centre_dashed=bool(rng.random() < 0.75),
        edge_lines=bool(rng.random() < 0.5),
        crossings=tuple(float(s) for s in crossings),
    )
