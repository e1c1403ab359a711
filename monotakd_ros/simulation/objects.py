"""Labelled things of the world: shapes with a class, standing or moving along the road."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from monotakd_ros.simulation.mesh import Mesh
from monotakd_ros.simulation.people import Look, cyclist_mesh, pedestrian_mesh, random_look
from monotakd_ros.simulation.road import Road
from monotakd_ros.simulation.vehicles import CAR_STYLES, car_mesh, random_paint, random_size, truck_mesh

GAIT_PHASES = 8


@dataclass(frozen=True, eq=False)
class Shape:
    """A mesh that stands on z = 0 over the origin, facing +x, with its KITTI class."""

    class_name: str
    build: Callable[[], Mesh]
    """Makes the mesh, once it is first looked at."""

    @cached_property
    def mesh(self) -> Mesh:
        return self.build()

    @cached_property
    def points(self) -> np.ndarray:
        """(P, 3) float64 the mesh's corners, each once."""
        corners = np.ascontiguousarray(self.mesh.corners.reshape(-1, 3))
        _, first = np.unique(corners.view(np.dtype((np.void, 12))).ravel(), return_index=True)
        return corners[first].astype(np.float64)

    @cached_property
    def size(self) -> np.ndarray:
        """(3,) length, width, height, m: the mesh's extent."""
        low, high = self.mesh.extent
        return (high - low).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Placed:
    """A shape in the world at one moment.

    Attributes:
        shape: what it is.
        position: (3,) world, m, of the middle of its underside.
        heading: rad about +z.
    """

    shape: Shape
    position: np.ndarray
    heading: float

    @property
    def box_world(self) -> np.ndarray:
        """(7,) box: centre, size, heading."""
        centre = self.position + np.array([0.0, 0.0, 0.5 * self.shape.size[2]])
        return np.concatenate([centre, self.shape.size, [self.heading]])


@dataclass(frozen=True, eq=False)
class Mover:
    """Something that moves along (or straight across) the road at a steady speed.

    Attributes:
        shapes: one shape, or the phases of a gait.
        s, d: position at time 0, m.
        z: height of the ground under it, m.
        speed_s, speed_d: m/s.
        turn: extra heading against its direction of travel, rad.
        time_span: start and end, s, of its motion; it waits before and after.
        stride_m: distance after which the gait repeats.
    """

    shapes: tuple[Shape, ...]
    s: float
    d: float
    z: float
    speed_s: float
    speed_d: float = 0.0
    turn: float = 0.0
    time_span: tuple[float, float] = (-np.inf, np.inf)
    stride_m: float = 1.5
    phase: float = 0.0

    def s_at(self, time: float) -> float:
        """s, m, at a time, s."""
        return self.s + self.speed_s * self._moved(time)

    def _moved(self, time: float) -> float:
        start, end = self.time_span
        return time if np.isinf(start) else float(np.clip(time, start, end)) - start

    def at(self, time: float, road: Road) -> Placed:
        """Where it is at `time`, s."""
        moved = self._moved(time)
        s, d = self.s + self.speed_s * moved, self.d + self.speed_d * moved
        x, y = road.to_world(s, d)
        along = float(np.arctan2(self.speed_d, self.speed_s)) if self.speed_s or self.speed_d else 0.0
        travelled = np.hypot(self.speed_s, self.speed_d) * moved
        index = int(np.floor((travelled / self.stride_m + self.phase) * len(self.shapes))) % len(self.shapes)
        heading = float(road.heading(s)) + along + self.turn
        return Placed(self.shapes[index], np.array([float(x), float(y), self.z]), heading)


@dataclass(eq=False)
class Cast:
    """Draws shapes; keeps a pool per drive, so that a long drive does not build a mesh per car."""

    rng: np.random.Generator
    pool_size: int = 26
    _cars: list[Shape] = field(default_factory=list)
    _large: list[Shape] = field(default_factory=list)
    _people: list[tuple[Shape, ...]] = field(default_factory=list)
    _cyclists: list[tuple[Shape, ...]] = field(default_factory=list)

    def car(self) -> Shape:
        """A car of any body style."""
        if len(self._cars) < self.pool_size:
            style = str(self.rng.choice(CAR_STYLES))
            size, paint = random_size(style, self.rng), random_paint(self.rng)
            self._cars.append(Shape("Car", partial(car_mesh, style, size, paint)))
            return self._cars[-1]
        return self._cars[self.rng.integers(len(self._cars))]

    def vehicle(self, large_share: float = 0.08) -> Shape:
        """A car, or now and then a van or truck."""
        if self.rng.random() >= large_share:
            return self.car()
        if len(self._large) < 5:
            self._large.append(self._new_large())
        return self._large[self.rng.integers(len(self._large))]

    def _new_large(self) -> Shape:
        paint = random_paint(self.rng)
        if self.rng.random() < 0.75:
            return Shape("Van", partial(car_mesh, "van", random_size("van", self.rng), paint))
        size = self.rng.uniform([6.5, 2.3, 2.8], [10.5, 2.6, 3.7])
        cargo = self.rng.uniform(0.15, 0.7, 3) * 0.4 + self.rng.uniform(0.1, 0.4)
        return Shape("Truck", partial(truck_mesh, (float(size[0]), float(size[1]), float(size[2])), paint, cargo))

    def walker(self) -> tuple[Shape, ...]:
        """A pedestrian's gait, phase by phase."""
        if len(self._people) < 12:
            look = random_look(self.rng)
            stride = float(self.rng.uniform(0.7, 1.1))
            phases = np.arange(GAIT_PHASES) / GAIT_PHASES
            self._people.append(tuple(Shape("Pedestrian", partial(pedestrian_mesh, look, p, stride)) for p in phases))
            return self._people[-1]
        return self._people[self.rng.integers(len(self._people))]

    def stander(self) -> Shape:
        """A pedestrian standing still."""
        return Shape("Pedestrian", partial(pedestrian_mesh, random_look(self.rng), float(self.rng.random()), 0.12))

    def cyclist(self) -> tuple[Shape, ...]:
        """A cyclist's pedalling, phase by phase."""
        if len(self._cyclists) < 6:
            look, helmet = random_look(self.rng), bool(self.rng.random() < 0.4)
            colour = tuple(float(value) for value in self.rng.uniform(0.01, 0.35, 3))
            self._cyclists.append(self._pedalling(look, colour, helmet))
            return self._cyclists[-1]
        return self._cyclists[self.rng.integers(len(self._cyclists))]

    def _pedalling(self, look: Look, colour: tuple[float, float, float], helmet: bool) -> tuple[Shape, ...]:
        phases = np.arange(GAIT_PHASES) / GAIT_PHASES
        return tuple(Shape("Cyclist", partial(cyclist_mesh, look, p, colour, helmet)) for p in phases)
