from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.simulation.mesh import Surface
from monotakd_ros.simulation.objects import Cast, Mover, Placed, Shape
from monotakd_ros.simulation.people import cyclist_mesh, pedestrian_mesh, random_look
from monotakd_ros.simulation.road import Road
from monotakd_ros.simulation.vehicles import (
    CAR_STYLES,
    HEADLIGHT,
    STYLES,
    TAIL_LIGHT,
    car_mesh,
    random_size,
    truck_mesh,
)

PAINT = np.array([0.3, 0.3, 0.3])


def _size(mesh) -> np.ndarray:
    low, high = mesh.extent
    return high - low


@pytest.mark.parametrize("style", sorted(STYLES))
def test_vehicle_fills_its_size_exactly(style: str):
    mesh = car_mesh(style, (4.2, 1.7, 1.5), PAINT)
    np.testing.assert_allclose(_size(mesh), [4.2, 1.7, 1.5], atol=1e-5)
    assert mesh.extent[0][2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_front_and_back_tell_apart(style: str):
    mesh = car_mesh(style, (4.2, 1.7, 1.5), PAINT)
    centre = mesh.corners.mean(axis=1)
    front = centre[np.isclose(mesh.colour, HEADLIGHT).all(axis=1)]
    rear = centre[np.isclose(mesh.colour, TAIL_LIGHT).all(axis=1)]
    assert len(front) and front[:, 0].min() > 1.2
    assert len(rear) and rear[:, 0].max() < -1.2
    assert (mesh.surface == Surface.GLASS).sum() >= 6


def test_vehicle_is_symmetric():
    mesh = car_mesh("hatchback", (3.8, 1.6, 1.5), PAINT)
    points = np.unique(np.round(mesh.corners.reshape(-1, 3), 3), axis=0)
    mirrored = np.unique(np.round(mesh.corners.reshape(-1, 3) * [1, -1, 1], 3) + 0.0, axis=0)
    assert len(points) == len(mirrored)
    assert np.abs(points.sum(axis=0) - mirrored.sum(axis=0)).max() < 1.0


def test_car_sizes_spread_like_kitti():
    rng = np.random.default_rng(0)
    sizes = np.array([random_size(str(rng.choice(CAR_STYLES)), rng) for _ in range(2000)])
    np.testing.assert_allclose(sizes.mean(axis=0), [3.9, 1.63, 1.53], atol=0.25)
    assert (sizes.std(axis=0) > [0.2, 0.04, 0.05]).all()
    assert (sizes.std(axis=0) < [0.6, 0.15, 0.2]).all()


def test_truck_fills_its_size_exactly():
    np.testing.assert_allclose(_size(truck_mesh((8, 2.5, 3.2), PAINT, PAINT)), [8, 2.5, 3.2], atol=1e-5)


def test_pedestrian_is_as_tall_as_a_person_and_strides():
    look = random_look(np.random.default_rng(3))
    stride, still = _size(pedestrian_mesh(look, 0.25)), _size(pedestrian_mesh(look, 0.25, 0.0))
    assert abs(stride[2] - look.height_m) < 0.12
    assert 0.5 < stride[0] < 1.3
    assert still[0] < stride[0] - 0.15


def test_cyclist_has_the_size_of_a_bicycle_with_rider():
    size = _size(cyclist_mesh(random_look(np.random.default_rng(4)), 0.1, (0.1, 0.1, 0.3), True))
    assert 1.6 < size[0] < 1.9
    assert 0.45 < size[1] < 0.9
    assert 1.5 < size[2] < 2.0


def test_same_seed_same_shapes():
    first, second = (Cast(np.random.default_rng(8)) for _ in range(2))
    for _ in range(5):
        np.testing.assert_array_equal(first.car().mesh.corners, second.car().mesh.corners)


def test_box_of_a_placed_shape_has_its_geometric_centre():
    placed = Placed(Shape("Car", lambda: car_mesh("sedan", (4, 2, 1.5), PAINT)), np.array([7.0, 1, 0.1]), 0.3)
    np.testing.assert_allclose(placed.box_world, [7, 1, 0.85, 4, 2, 1.5, 0.3], atol=1e-5)


def test_mover_drives_waits_and_faces_its_way():
    road = Road(200, 0.0, np.random.default_rng(0))
    shape = Shape("Car", lambda: car_mesh("sedan", (4, 2, 1.5), PAINT))
    along = Mover((shape,), 10.0, -1.7, 0.0, 5.0).at(2.0, road)
    np.testing.assert_allclose(along.position, [20, -1.7, 0], atol=1e-9)
    assert along.heading == pytest.approx(0)
    crossing = Mover((shape,), 30.0, -4.0, 0.0, 0.0, 2.0, time_span=(1.0, 3.0))
    assert crossing.at(0.0, road).position[1] == pytest.approx(-4)
    assert crossing.at(2.0, road).position[1] == pytest.approx(-2)
    assert crossing.at(9.0, road).position[1] == pytest.approx(0)
    assert crossing.at(2.0, road).heading == pytest.approx(np.pi / 2)
    against = Mover((shape,), 30.0, 1.7, 0.0, -5.0).at(1.0, road)
    assert abs(against.heading) == pytest.approx(np.pi)


def test_road_starts_at_the_origin_and_turns_as_told():
    road = Road(300, 0.005, np.random.default_rng(2))
    x, y = road.to_world(0.0, 0.0)
    assert (float(x), float(y)) == pytest.approx((0, 0), abs=1e-9)
    s = np.arange(0, 250.0, 10.0)
    turn = np.abs(np.diff(road.heading(s))) / 10
    assert 0 < turn.max() <= 0.005 + 1e-9
    left, right = np.column_stack(road.to_world(s, 3.0)), np.column_stack(road.to_world(s, -3.0))
    np.testing.assert_allclose(np.linalg.norm(left - right, axis=1), 6.0, atol=1e-9)
