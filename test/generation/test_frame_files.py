"""Depth maps and maps of features as bytes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monotakd_ros.generation.frame_files import depth_png, npy_gz, seen_points
from monotakd_ros.generation.frame_store import member_name


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_nearest_point_of_a_cell():
    points = np.array([[3.0, 1.0, 20.0], [3.4, 0.6, 10.5], [2.6, 1.4, 30.0], [0.0, 0.0, 0.001], [7.0, 3.0, 300.0]])
    expected = np.zeros((4, 8))
    expected[1, 3], expected[0, 0] = 10.5 * 256, 1  # below a step is a step; beyond 16 bit is nothing
    np.testing.assert_array_equal(decoded(depth_png(points, 4, 8, 1)), expected)
    coarse = decoded(depth_png(points, 4, 8, 3))
    assert coarse.shape == (2, 3) and coarse[0, 1] == 10.5 * 256


@pytest.mark.parametrize("stride", [1, 8])
def test_points_on_the_rim_stay_inside(stride):
    """A pixel that is inside in float64 may be rounded onto the rim in float32."""
    rim = np.nextafter(np.float64(374.5), 0)
    points = np.array([[1241.5 - 1e-9, rim, 5.0], [-0.5, -0.5, 6.0]]).astype(np.float32)
    found = decoded(depth_png(points, 375, 1242, stride))
    assert found[-1, -1] == 5 * 256 and found[0, 0] == 6 * 256


def test_no_points(make_frame):
    assert not decoded(depth_png(np.zeros((0, 3)), 4, 8, 1)).any()
    points_img, points = seen_points(make_frame(0, points_lidar=None, points_stamp_ns=None))
    assert points_img.shape == (0, 3) and points.shape == (0, 4)


def test_the_same_array_gives_the_same_bytes():
    array = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    assert npy_gz(array) == npy_gz(array.copy())


def test_names_in_a_shard():
    assert member_name("training/velodyne/12.bin") == "12.velodyne.bin"
    assert member_name("training/image_2/12.png") == "12.png"
    assert member_name("frames/12.json") == "12.json"
    assert member_name("teacher_bev/12.npy.gz") == "12.teacher_bev.npy.gz"
