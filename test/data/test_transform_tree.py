"""tf without ROS: chains, time, gaps."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.data.transform_tree import MAX_SAMPLES, TransformTree, interpolate_pose
from monotakd_ros.geometry.transforms import make_transform, rotation_about_z


def shifted(x: float) -> np.ndarray:
    return make_transform(np.eye(3), [x, 0, 0])


@pytest.fixture
def tree():
    tree = TransformTree()
    tree.add("base", "lidar", make_transform(rotation_about_z(np.pi / 2), [1, 0, 2]), 0, is_static=True)
    tree.add("/base", "camera", shifted(3.0), 0, is_static=True)
    tree.add("map", "odom", shifted(100), 10, is_static=False)
    for stamp_ns in (0, 1_000_000_000):
        tree.add("odom", "base", shifted(stamp_ns * 1e-9), stamp_ns, is_static=False)
    return tree


def test_between_branches(tree):
    # a lidar point 1 m ahead of the lidar is at (1, 1, 2) in base, thus at (-2, 1, 2) in the camera's frame
    np.testing.assert_allclose(tree.lookup("camera", "lidar", 5) @ [1, 0, 0, 1], [-2, 1, 2, 1], atol=1e-12)


def test_the_same_frame_is_identity(tree):
    np.testing.assert_array_equal(tree.lookup("lidar", "/lidar", 5), np.eye(4))


def test_moving_edges_are_interpolated(tree):
    tree.add("map", "odom", shifted(100), 2_000_000_000, is_static=False)
    np.testing.assert_allclose(tree.lookup("map", "base", 250_000_000)[:3, 3], [100.25, 0, 0])


def test_not_connected_or_too_far_in_time(tree):
    assert tree.lookup("camera", "radar", 5) is None
    assert tree.lookup("odom", "base", 1_100_000_000) is not None
    assert tree.lookup("odom", "base", 1_300_000_000) is None


def test_world_is_the_highest_fixed_frame(tree):
    assert tree.world_of("lidar") == "map"
    assert TransformTree().world_of("lidar") is None


def test_a_resent_static_edge_holds_from_its_stamp_on(tree):
    tree.add("base", "camera", shifted(4.0), 100, is_static=True)
    assert tree.lookup("base", "camera", 99)[0, 3] == 3.0
    assert tree.lookup("base", "camera", 100)[0, 3] == 4.0


def test_a_loop_ends():
    tree = TransformTree()
    tree.add("a", "b", np.eye(4), 0, is_static=True)
    tree.add("b", "a", np.eye(4), 0, is_static=True)
    assert tree.lookup("a", "c", 0) is None


def test_memory_stays_bounded():
    tree = TransformTree()
    for stamp_ns in range(MAX_SAMPLES + 10):
        tree.add("odom", "base", shifted(stamp_ns), stamp_ns, is_static=False)
    assert len(tree._edges["base"].poses) == MAX_SAMPLES


def test_slerp_goes_the_short_way():
    half = interpolate_pose(
        make_transform(rotation_about_z(3.0), [0, 0, 0]), make_transform(rotation_about_z(-3.0), [2, 0, 0]), 0.5
    )
    np.testing.assert_allclose(half, make_transform(rotation_about_z(np.pi), [1, 0, 0]), atol=1e-9)
