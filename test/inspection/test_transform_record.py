"""tf as a tree: what is drawn, what contradicts, and when a lookup works: as `TransformTree` would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.data.from_msg import StampedTransform
from monotakd_ros.data.transform_tree import TransformTree
from monotakd_ros.geometry.transforms import make_transform, rotation_about_z
from monotakd_ros.inspection.transform_record import MAX_FRAMES, TransformRecord, turn_deg

SECOND = 1_000_000_000


def pose(x: float = 0.0, angle: float = 0.0) -> np.ndarray:
    return make_transform(rotation_about_z(angle), [x, 0, 0])


def record(*edges) -> TransformRecord:
    """Of (parent, child, is_static[, pose[, stamp]])."""
    result = TransformRecord()
    for parent, child, is_static, *rest in edges:
        given_pose, stamp = [*rest, pose(), 0][0] if rest else pose(), rest[1] if len(rest) > 1 else 0
        result.add(StampedTransform(parent, child, given_pose, stamp), is_static)
    return result


def test_a_usual_tree_is_drawn():
    tree = record(
        ("odom", "base_link", False, pose(0), 1),
        ("odom", "base_link", False, pose(1), 2),
        ("/base_link", "lidar", True),
        ("base_link", "camera", True),
        ("camera", "camera_optical", True),
        ("base_link", "wheel", False, pose(0.5), 1),
    )
    assert tree.drawing() == [
        "odom",
        "`- base_link  [moving]",
        "   |- lidar  [static]",
        "   |- camera  [static]",
        "   |  `- camera_optical  [static]",
        "   `- wheel  [moving topic, but still]",
    ]
    assert tree.roots == ["odom"]
    assert tree.loops == []
    assert tree.several_parents == {}


def test_parts_that_are_not_connected():
    tree = record(("base", "camera", True), ("world", "lidar", True))
    assert tree.roots == ["base", "world"]
    assert tree.path("camera", "lidar") is None
    assert not tree.available("camera", "lidar", np.array([0, 1])).any()


def test_a_loop_is_found_once_and_drawn_without_end():
    tree = record(("a", "b", True), ("b", "c", True), ("c", "a", True), ("c", "d", True))
    (circle,) = tree.loops
    assert sorted(circle) == ["a", "b", "c"]
    assert any("d  [static]" in line for line in tree.drawing())
    assert tree.available("d", "a", np.array([5])).all()


def test_a_frame_with_two_parents():
    tree = record(("map", "base", False, pose(), 1), ("odom", "base", False, pose(), 1), ("base", "lidar", True))
    assert tree.several_parents == {"base": ["map", "odom"]}


def test_statics_that_change():
    tree = record(("a", "b", True), ("a", "b", True), ("a", "b", True, pose(0.1)), ("a", "b", True, pose(0.1, 0.01)))
    (edge,) = tree.edges
    assert edge.changes == 2
    assert edge.kind == "static, changes 2 times"


def test_moving_edges_hold_a_little_beyond_their_samples():
    tree = record(("odom", "lidar", False, pose(), 10 * SECOND), ("odom", "lidar", False, pose(), 12 * SECOND))
    tree.add(StampedTransform("odom", "camera", pose(), 0), is_static=True)
    stamps = np.array([9.7, 9.9, 11, 12.1, 12.3]) * SECOND
    assert tree.available("camera", "lidar", stamps.astype(np.int64)).tolist() == [False, True, True, True, False]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.lists(st.integers(-5, 25), min_size=1, max_size=8))
def test_available_is_what_the_lookup_says(samples, asked):
    tenth = SECOND // 10
    tree, other = TransformTree(), TransformRecord()
    for item in (("base", "camera", True, 0), *(("base", "lidar", False, stamp * tenth) for stamp in samples)):
        tree.add(item[0], item[1], pose(), item[3], item[2])
        other.add(StampedTransform(item[0], item[1], pose(), item[3]), item[2])
    stamps = np.array(asked) * tenth
    expected = [tree.lookup("camera", "lidar", int(stamp)) is not None for stamp in stamps]
    assert other.available("camera", "lidar", stamps).tolist() == expected


def test_same_frames_need_no_transform_and_unknown_ones_have_none():
    tree = record(("a", "b", True))
    assert tree.available("lidar", "lidar", np.array([1])).all()
    assert not tree.available("a", "lidar", np.array([1])).any()


def test_frames_beyond_counting_are_bounded():
    tree = record(*(("base", f"marker_{index}", False) for index in range(MAX_FRAMES + 50)))
    assert len(tree.edges) == MAX_FRAMES


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 0.3, 90.0, 179.9])
def test_turn(degrees):
    assert turn_deg(pose(3), pose(0, np.deg2rad(degrees))) == pytest.approx(degrees, abs=1e-9, rel=1e-6)
