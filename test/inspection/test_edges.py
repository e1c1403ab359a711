"""Depth edges of clouds and edges of images, by hand-made boards, roads and rectangles."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.geometry.transforms import rotation_about_z
from monotakd_ros.inspection.depth_edges import find_depth_edges
from monotakd_ros.inspection.image_edges import edge_maps


def rays(azimuth_step=0.2, elevation_step=0.4) -> np.ndarray:
    azimuth, elevation = np.meshgrid(np.arange(-30, 30, azimuth_step), np.arange(-15, 6, elevation_step))
    azimuth, elevation = np.deg2rad(azimuth.ravel()), np.deg2rad(elevation.ravel())
    flat = np.cos(elevation)
    return np.column_stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def hit(directions, *boards, behind=40.0) -> np.ndarray:
    """Boards (ahead, right, left, bottom, top) before a wall."""
    ahead = np.full(len(directions), behind)
    for depth, right, left, bottom, top in boards:
        at = directions * (depth / directions[:, :1])
        inside = (at[:, 1] > right) & (at[:, 1] < left) & (at[:, 2] > bottom) & (at[:, 2] < top)
        ahead[inside & (depth < ahead)] = depth
    return directions * (ahead / directions[:, 0])[:, None]


def test_the_outline_of_a_board():
    edges = find_depth_edges(hit(rays(), (10.0, -1.0, 1.0, -5.0, 0.3)))
    upright, level = edges.points[edges.is_upright], edges.points[~edges.is_upright]
    assert len(upright) > 20
    assert len(level) > 20
    np.testing.assert_allclose(np.abs(upright[:, 1] / upright[:, 0]), 0.1, atol=0.006)
    # The topmost ring that hits and the next lie around the edge; midway is right on average.
    np.testing.assert_allclose(level[:, 2] / level[:, 0], 0.03, atol=0.006)
    np.testing.assert_allclose(edges.weights, 4.0, atol=1e-6)  # 30 m, of which 16 count


def test_both_sides_count_alike():
    edges = find_depth_edges(hit(rays(), (10.0, -1.0, 1.0, -5.0, 0.3)))
    upright = edges.points[edges.is_upright]
    assert abs(np.sum(upright[:, 1] > 0) - np.sum(upright[:, 1] < 0)) <= 4


def test_a_road_has_no_edges():
    directions = rays()
    down = directions[directions[:, 2] < -0.03]
    road = down * (-1.73 / down[:, 2])[:, None]
    assert len(find_depth_edges(road)) == 0


def test_a_tilted_wall_has_none_and_steps_below_a_metre_are_none():
    directions = rays()
    wall = directions / (directions @ [1.0, 0.5, 0.0])[:, None] * 12.0
    assert len(find_depth_edges(wall)) == 0
    assert len(find_depth_edges(hit(directions, (10.0, -1, 1, -5, 0.3), behind=10.9))) == 0


@pytest.mark.parametrize("angle", [-0.3, 0.4])
def test_edges_turn_with_the_cloud(angle):
    cloud = hit(rays(), (10.0, -1.0, 1.0, -5.0, 0.3))
    turned = find_depth_edges(cloud @ rotation_about_z(angle).T)
    straight = find_depth_edges(cloud)
    assert len(turned) == pytest.approx(len(straight), rel=0.2)
    back = turned.points[turned.is_upright] @ rotation_about_z(angle)
    np.testing.assert_allclose(np.abs(back[:, 1] / back[:, 0]), 0.1, atol=0.006)


@pytest.mark.parametrize("cloud", [np.zeros((0, 3)), np.zeros((5, 3)), np.array([[10.0, 0, 0]]), np.full((3, 3), -9.0)])
def test_clouds_without_edges(cloud):
    assert len(find_depth_edges(cloud)) == 0


def test_upright_and_level_edges_of_a_rectangle():
    image = np.full((100, 200, 3), 40, dtype=np.uint8)
    image[30:70, 60:140] = 200
    upright, level = edge_maps(image, 500.0)
    assert upright[50, 59:61].max() > 200
    assert level[29:31, 100].max() > 200
    assert upright[50, 100] < 10
    assert level[50, 100] < 10
    assert upright[29:31, 100].max() < 10
    ahead = upright[50, 48:60].astype(int)
    assert (np.diff(ahead) >= 0).all()  # strength falls with the distance
    assert 0 < ahead[0] < ahead[-1]


def test_a_plain_or_noisy_image_has_no_strong_edges():
    noise = np.random.default_rng(0).normal(120, 4, (100, 200, 3)).clip(0, 255).astype(np.uint8)
    strong = np.full((100, 200, 3), 40, dtype=np.uint8)
    strong[30:70, 60:140] = 200
    assert edge_maps(np.full((40, 60, 3), 9, dtype=np.uint8), 500.0).max() == 0
    assert edge_maps(noise, 500.0).mean() < 0.5 * edge_maps(strong, 500.0).max()
