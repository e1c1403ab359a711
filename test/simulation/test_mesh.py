from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.simulation.mesh import Surface, box, ellipsoid, grid, merge, quads, ring, tube

GREY = (0.5, 0.5, 0.5)


def test_box_has_twelve_triangles_and_its_size():
    mesh = box((1, 2, 3), (2, 4, 6), GREY)
    low, high = mesh.extent
    assert len(mesh) == 12
    assert low.tolist() == [0, 0, 0]
    assert high.tolist() == [2, 4, 6]


def test_fitted_stands_on_the_ground_with_the_exact_size():
    low, high = ellipsoid((5, -3, 2), (1, 2, 3), GREY).fitted((3.9, 1.6, 1.5)).extent
    np.testing.assert_allclose(low, [-1.95, -0.8, 0], atol=1e-6)
    np.testing.assert_allclose(high, [1.95, 0.8, 1.5], atol=1e-6)


def test_placed_turns_counter_clockwise_then_moves():
    mesh = quads(np.array([[[1, 0, 0], [2, 0, 0], [2, 0, 1], [1, 0, 1]]]), GREY).placed(
        np.array([10.0, 0, 0]), np.pi / 2
    )
    np.testing.assert_allclose(mesh.corners[0, 0], [10, 1, 0], atol=1e-6)
    np.testing.assert_allclose(np.abs(mesh.normals[0, 0]), [1, 0, 0], atol=1e-6)


def test_quads_keep_colour_surface_and_uv_per_quad():
    points = np.zeros((2, 4, 3)) + np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    uv = np.arange(16).reshape(2, 4, 2)
    mesh = quads(points, [[1, 0, 0], [0, 1, 0]], [Surface.GLASS, Surface.PAINT], uv)
    assert mesh.surface.tolist() == [Surface.GLASS] * 2 + [Surface.PAINT] * 2
    assert mesh.colour[1].tolist() == [1, 0, 0]
    assert mesh.uv[3].tolist() == [[8, 9], [12, 13], [14, 15]]


def test_grid_smooths_shallow_edges_and_keeps_sharp_ones():
    def normals_at_ridge(slope: float) -> np.ndarray:
        rows = [[[0, y, -slope], [1, y, 0], [2, y, -slope]] for y in (0.0, 1.0)]
        mesh = grid(np.array(rows, dtype=np.float64), GREY)
        return mesh.normals[np.isclose(mesh.corners[..., 0], 1)]

    assert np.abs(normals_at_ridge(0.2)[:, 0]).max() < 1e-6
    assert np.abs(normals_at_ridge(2.0)[:, 0]).min() > 0.8


@given(st.integers(3, 12), st.floats(0.05, 2.0), st.floats(0.05, 2.0))
def test_round_parts_have_unit_normals(sides: int, first: float, second: float):
    mesh = merge([
        tube((0, 0, 0), (0.3, 0.2, 1), first, second, GREY, sides=sides),
        ellipsoid((0, 0, 0), (first, second, 1), GREY, detail=(4, sides)),
        ring((0, 0, 0), 3.0, first, GREY, sides=sides),
    ])  # fmt: skip
    length = np.linalg.norm(mesh.normals.reshape(-1, 3), axis=1)
    area = np.linalg.norm(np.cross(*(mesh.corners[:, k] - mesh.corners[:, 0] for k in (1, 2))), axis=1)
    assert np.abs(length[np.repeat(area > 1e-6, 3)] - 1).max() < 1e-3


def test_ring_reaches_radius_plus_thickness():
    low, high = ring((0, 0, 0.5), 0.4, 0.1, GREY).extent
    assert low[2] == pytest.approx(0, abs=1e-6)
    assert high[2] == pytest.approx(1, abs=1e-6)
    assert high[1] < 0.11
