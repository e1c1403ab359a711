"""What moves: cars in lanes, cyclists at the road's edge, people on pavements and crossing; and the ego car's path.

All cars of a lane share one speed, so that nobody ever runs into another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.geometry.transforms import make_transform, rotation_about_z
from monotakd_ros.simulation.objects import Cast, Mover, Placed
from monotakd_ros.simulation.road import Road, StreetStyle
from monotakd_ros.simulation.scenery import KERB_HEIGHT_M

BEHIND_M, AHEAD_M = 15.0, 95.0
EGO_LENGTH_M = 4.5


@dataclass(frozen=True)
class Ego:
    """The recording car's motion: steady speed in its lane with a little weaving and rocking.

    Attributes:
        speed: m/s along the road.
        d: offset of its lane, m.
        weave: (amplitude m, period s, phase) of the sideways motion.
        rock: (3, 3) rows pitch, roll, yaw of (amplitude rad, period s, phase).
    """

    speed: float
    d: float
    weave: tuple[float, float, float]
    rock: np.ndarray

    def s_at(self, time: float) -> float:
        """s, m, at a time, s."""
        return self.speed * time

    def world_T_base(self, time: float, road: Road) -> np.ndarray:
        """(4, 4) pose of the point on the road below the LiDAR: x forward, y left, z up."""
        amplitude, period, phase = self.weave
        rate = 2 * np.pi / period
        s, d = self.s_at(time), self.d + amplitude * np.sin(rate * time + phase)
        x, y = road.to_world(s, d)
        drift = amplitude * rate * np.cos(rate * time + phase) / max(self.speed, 3.0)
        pitch, roll, yaw = self.rock[:, 0] * np.sin(2 * np.pi * time / self.rock[:, 1] + self.rock[:, 2])
        rotation = rotation_about_z(float(road.heading(s)) + drift + yaw) @ tilt(pitch, roll)
        return make_transform(rotation, np.array([float(x), float(y), 0.0]))


def tilt(pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rotation: `roll` rad about x, then `pitch` rad about y (nose down)."""
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_y @ about_x


def random_ego(street: StreetStyle, rng: np.random.Generator) -> Ego:
    """Draw the ego car's motion."""
    rock = np.column_stack(
        [rng.uniform([0.002, 0.001, 0.002], [0.008, 0.006, 0.02]), rng.uniform(0.9, 4.0, 3), rng.uniform(0, 6.28, 3)]
    )
    lane = street.lanes - 1 if rng.random() < 0.6 else 0
    weave = (float(rng.uniform(0.03, 0.3)), float(rng.uniform(5, 15)), float(rng.uniform(0, 6.28)))
    return Ego(float(rng.uniform(5.0, 13.0)), -(lane + 0.5) * street.lane_width, weave, rock)


class Traffic:
    """All movers of one drive."""

    def __init__(self, road: Road, street: StreetStyle, ego: Ego, duration_s: float, rng: np.random.Generator) -> None:
        self._road, self._street, self._ego = road, street, ego
        self._duration, self._rng, self._cast = duration_s, rng, Cast(rng)
        self._movers = [*self._lanes(), *self._cyclists(), *self._walkers(), *self._crossers()]

    def at(self, time: float) -> list[Placed]:
        """Everything that moves near the ego car at `time`, s."""
        here = self._ego.s_at(time)
        near = [mover for mover in self._movers if -BEHIND_M < mover.s_at(time) - here < AHEAD_M]
        return [mover.at(time, self._road) for mover in near]

    def _span(self, speed: float) -> tuple[float, float]:
        """Range of start positions, m, whose movers come near the ego car during the drive."""
        change = (speed - self._ego.speed) * self._duration
        return -BEHIND_M - max(change, 0.0) - 10, AHEAD_M - min(change, 0.0) + 10

    def _lanes(self) -> list[Mover]:
        rng, street, movers = self._rng, self._street, []
        for direction in (-1, 1):
            for lane in range(street.lanes):
                d = direction * (lane + 0.5) * street.lane_width
                own = abs(d - self._ego.d) < 0.1
                pace = self._ego.speed if own else float(rng.uniform(5, 13))
                movers += self._lane(d, pace if direction < 0 else -pace, own)
        return movers

    def _lane(self, d: float, speed: float, own: bool) -> list[Mover]:
        rng, movers = self._rng, []
        low, high = self._span(speed)
        mean_gap = float(rng.uniform(7, 32))
        s = low + rng.uniform(0, 20)
        if own:
            s = EGO_LENGTH_M + float(rng.uniform(4, 28))
        while s < high:
            shape = self._cast.vehicle(0.12)
            s += 0.5 * shape.size[0]
            turn = float(rng.normal(0, 0.02))
            movers.append(Mover((shape,), s, d + float(rng.normal(0, 0.15)), 0.0, speed, turn=turn))
            s += 0.5 * shape.size[0] + 3.0 + float(rng.exponential(mean_gap))
        return movers

    def _cyclists(self) -> list[Mover]:
        rng, street, movers = self._rng, self._street, []
        for direction in (-1, 1):
            speed = -direction * float(rng.uniform(3.0, 6.5))
            low, high = self._span(speed)
            s, mean_gap = low + rng.uniform(0, 20), rng.uniform(15, 60)
            while s < high:
                d = direction * (street.road_edge - 0.35 + rng.normal(0, 0.1))
                phase = float(rng.random())
                movers.append(Mover(self._cast.cyclist(), s, d, 0.0, speed, stride_m=5.0, phase=phase))
                s += 4.0 + float(rng.exponential(mean_gap))
        return movers

    def _walkers(self) -> list[Mover]:
        rng, street, movers = self._rng, self._street, []
        for number, side in street.sides.items():
            for direction in (-1, 1):
                low, high = self._span(direction * 1.3)
                count = rng.poisson((high - low) / 100 * side.people_per_100m * 0.4)
                inner, outer = street.kerb(number) + 0.5, street.pavement_end(number) - 0.3
                for s in rng.uniform(low, high, count):
                    d = number * rng.uniform(inner, outer)
                    speed = direction * float(rng.uniform(0.9, 1.7))
                    movers.append(Mover(self._cast.walker(), s, d, KERB_HEIGHT_M, speed, phase=float(rng.random())))
        return movers

    def _crossers(self) -> list[Mover]:
        """People who cross the road ahead of the ego car and are over before it comes."""
        rng, street, movers = self._rng, self._street, []
        time = float(rng.uniform(-4, 4))
        while time < self._duration:
            number = int(rng.choice([-1, 1]))
            start, end = number * (street.kerb(number) + 0.6), -number * (street.kerb(-number) + 0.6)
            pace = float(rng.uniform(1.1, 1.9))
            needed = abs(end - start) / pace
            lead = self._ego.speed * needed + float(rng.uniform(2, 20))
            s = self._ego.s_at(time) + min(lead, 70.0)
            movers.append(
                Mover(self._cast.walker(), s, start, 0.02, 0.0, -number * pace, time_span=(time, time + needed))
            )
            time += float(rng.exponential(7.0))
        return movers
