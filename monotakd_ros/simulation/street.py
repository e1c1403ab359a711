"""Furnishes the street block by block: ground, buildings, greenery, parked cars, people who stand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from monotakd_ros.simulation import scenery
from monotakd_ros.simulation.mesh import Mesh, merge
from monotakd_ros.simulation.objects import Cast, Placed
from monotakd_ros.simulation.road import Road, RoadSide, StreetStyle

BLOCK_M = 40.0
KERB_M = scenery.KERB_HEIGHT_M


@dataclass(frozen=True, eq=False)
class Block:
    """One stretch of street, `BLOCK_M` long: the scenery and the labelled objects that stand still in it."""

    mesh: Mesh
    objects: tuple[Placed, ...]


@dataclass(eq=False)
class BlockBuilder:
    """Builds blocks, each from the drive's seed and its own number, in any order.

    Attributes:
        road: centre line.
        street: cross-section.
        seed: of the drive.
    """

    road: Road
    street: StreetStyle
    seed: int
    _trees: list[Mesh] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 11])
        self._trees = [scenery.tree(float(rng.uniform(5.0, 12.0)), rng) for _ in range(6)]
        self._slab = np.array([0.27, 0.26, 0.245]) * rng.uniform(0.7, 1.15)

    def build(self, index: int) -> Block:
        """Block `index` covers s in [index, index + 1) * BLOCK_M."""
        rng = np.random.default_rng([self.seed, 12, index + 100_000])
        cast = Cast(rng)
        start = index * BLOCK_M
        meshes = [scenery.ground(self.road, self.street, (start, start + BLOCK_M), self._slab)]
        objects: list[Placed] = []
        for number, side in self.street.sides.items():
            meshes += self._plots(number, side, index, rng)
            meshes += self._furniture(number, side, start, rng)
            objects += self._parked(number, side, start, cast)
            objects += self._standing(number, side, start, cast)
        return Block(merge(meshes), tuple(objects))

    def _put(self, mesh: Mesh, s: float, d: float, z: float = KERB_M, turn: float = 0.0) -> Mesh:
        x, y = self.road.to_world(s, d)
        return mesh.placed(np.array([float(x), float(y), z]), float(self.road.heading(s)) + turn)

    def _place(self, shape, s: float, d: float, z: float, turn: float) -> Placed:
        x, y = self.road.to_world(s, d)
        return Placed(shape, np.array([float(x), float(y), z]), float(self.road.heading(s)) + turn)

    def _plots(self, number: int, side: RoadSide, index: int, rng: np.random.Generator) -> list[Mesh]:
        kind = side.kinds[(index // 2) % len(side.kinds)]
        start, inner = index * BLOCK_M, self.street.pavement_end(number) + side.verge_width
        build = {"terrace": self._terrace, "houses": self._houses, "park": self._park}[kind]
        meshes = build(number, start, inner, side, rng)
        if side.verge_width > 1.0:
            for s in np.arange(start + 5, start + BLOCK_M, rng.uniform(9, 16)):
                meshes.append(self._tree(s + rng.uniform(-1, 1), number * (inner - 0.5 * side.verge_width), rng))
        return meshes

    def _tree(self, s: float, d: float, rng: np.random.Generator) -> Mesh:
        return self._put(self._trees[rng.integers(len(self._trees))], s, d, turn=float(rng.uniform(0, 6.28)))

    def _terrace(self, number: int, start: float, inner: float, side: RoadSide, rng: np.random.Generator) -> list[Mesh]:
        meshes, s = [], start
        front = inner + side.setback
        while s < start + BLOCK_M - 4:
            width = min(float(rng.uniform(9, 18)), start + BLOCK_M - s)
            house = scenery.building(width, float(rng.uniform(9, 13)), int(rng.integers(2, 6)), rng, rng.random() < 0.7)
            turn = 0.0 if number > 0 else np.pi
            meshes.append(self._put(house, s + 0.5 * width, number * (front + rng.uniform(0, 0.4)), KERB_M, turn))
            s += width
        return meshes

    def _houses(self, number: int, start: float, inner: float, side: RoadSide, rng: np.random.Generator) -> list[Mesh]:
        meshes = []
        for s in (start + 10, start + 30):
            width, depth = float(rng.uniform(8, 13)), float(rng.uniform(8, 11))
            house = scenery.building(width, depth, int(rng.integers(1, 4)), rng, True)
            back = inner + 2.5 + side.setback + rng.uniform(0, 5)
            turn = (0.0 if number > 0 else np.pi) + rng.normal(0, 0.05)
            meshes.append(self._put(house, s + rng.uniform(-2, 2), number * back, KERB_M, turn))
            edge = number * (inner + 0.5)
            border = rng.random()
            if border < 0.45:
                meshes.append(self._put(scenery.bush(13, 0.9, float(rng.uniform(0.8, 2.0)), rng), s - 2, edge))
            elif border < 0.8:
                meshes.append(self._put(scenery.fence(14, rng), s - 2, edge))
            if rng.random() < 0.7:
                meshes.append(self._tree(s + rng.uniform(6, 9), number * (inner + rng.uniform(2.5, 8)), rng))
            if rng.random() < 0.5:
                bush = scenery.bush(1.2, 1.2, float(rng.uniform(0.8, 1.6)), rng)
                meshes.append(self._put(bush, s + rng.uniform(-6, 6), number * (inner + 1.8)))
        return meshes

    def _park(self, number: int, start: float, inner: float, side: RoadSide, rng: np.random.Generator) -> list[Mesh]:
        meshes = []
        for _ in range(int(rng.integers(4, 9))):
            d = inner + 1.5 + 26 * rng.random() ** 1.5
            meshes.append(self._tree(start + rng.uniform(0, BLOCK_M), number * d, rng))
        for _ in range(int(rng.integers(1, 4))):
            bush = scenery.bush(float(rng.uniform(1.2, 6)), 1.3, float(rng.uniform(0.8, 1.8)), rng)
            meshes.append(self._put(bush, start + rng.uniform(3, 37), number * (inner + rng.uniform(1, 9))))
        far = scenery.bush(BLOCK_M, 5.0, float(rng.uniform(4, 8)), rng)
        meshes.append(self._put(far, start + 0.5 * BLOCK_M, number * (inner + 38)))
        return meshes

    def _furniture(self, number: int, side: RoadSide, start: float, rng: np.random.Generator) -> list[Mesh]:
        kerb, meshes = self.street.kerb(number) + 0.45, []
        if number < 0 or side.verge_width == 0:
            lamp = scenery.lamp_post(rng)
            meshes.append(self._put(lamp, start + 12, number * kerb, turn=np.pi if number > 0 else 0.0))
        if rng.random() < 0.5:
            turn = 0.0 if number < 0 else np.pi
            meshes.append(self._put(scenery.sign_post(rng), start + rng.uniform(15, 38), number * kerb, turn=turn))
        if rng.random() < 0.3:
            first = start + rng.uniform(2, 25)
            meshes += [self._put(scenery.bollard(), first + 1.6 * k, number * kerb) for k in range(6)]
        if rng.random() < 0.4:
            end = self.street.pavement_end(number) - 0.5
            meshes.append(self._put(scenery.bin_box(rng), start + rng.uniform(1, 39), number * end))
        return meshes

    def _blocked(self, s: float) -> bool:
        """Whether a parked car at s would stand on a zebra crossing."""
        return any(abs(s - crossing) < 6.0 for crossing in self.street.crossings)

    def _parked(self, number: int, side: RoadSide, start: float, cast: Cast) -> list[Placed]:
        if side.parking == "none":
            return self._driveway(number, side, start, cast)
        rng, result = cast.rng, []
        parallel = side.parking == "parallel"
        angle = side.parking_angle
        pitch = 6.0 if parallel else max(2.7, 2.6 / max(abs(np.sin(angle)), 0.3))
        middle = self.street.road_edge + 0.5 * side.parking_depth
        for s in np.arange(start + 0.5 * pitch, start + BLOCK_M, pitch):
            if rng.random() > side.parking_fill or self._blocked(s):
                continue
            shape = cast.vehicle(0.07 if parallel else 0.02)
            if shape.class_name == "Truck":
                continue
            along = (np.pi if number > 0 else 0.0) if rng.random() < 0.88 else (0.0 if number > 0 else np.pi)
            turn = along if parallel else angle + (np.pi if rng.random() < 0.25 else 0.0)
            turn += rng.normal(0, 0.03) if rng.random() < 0.93 else rng.uniform(-0.5, 0.5)
            slack = 0.35 if parallel else 0.12
            offset = number * (middle + rng.normal(0, 0.08))
            result.append(self._place(shape, s + rng.uniform(-slack, slack), offset, 0.0, turn))
        return result

    def _driveway(self, number: int, side: RoadSide, start: float, cast: Cast) -> list[Placed]:
        """Without a parking strip: now and then a car on the plot or across the pavement."""
        rng, result = cast.rng, []
        kind = side.kinds[int(start // (2 * BLOCK_M)) % len(side.kinds)]
        for s in (start + 3, start + 22):
            if rng.random() > 0.4:
                continue
            turn = float(rng.choice([-1, 1])) * np.pi / 2 + rng.normal(0, 0.15)
            if kind == "park":
                turn = float(rng.uniform(-np.pi, np.pi))
            d = self.street.pavement_end(number) + (2.6 if kind != "terrace" else -1.9)
            if kind == "terrace":
                turn = rng.normal(0, 0.05) + (np.pi if number > 0 else 0.0)
                d = self.street.kerb(number) + 1.0
            result.append(self._place(cast.car(), s + rng.uniform(-1, 1), number * d, KERB_M, turn))
        return result

    def _standing(self, number: int, side: RoadSide, start: float, cast: Cast) -> list[Placed]:
        rng = cast.rng
        count = rng.poisson(0.18 * side.people_per_100m * BLOCK_M / 100)
        inner, outer = self.street.kerb(number) + 0.4, self.street.pavement_end(number)
        return [
            self._place(
                cast.stander(),
                float(start + rng.uniform(0, BLOCK_M)),
                float(number * rng.uniform(inner, outer)),
                KERB_M,
                float(rng.uniform(-np.pi, np.pi)),
            )
            for _ in range(count)
        ]
