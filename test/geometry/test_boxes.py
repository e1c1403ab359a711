"""Boxes: hand-made corners, KITTI's encoding back and forth, 2D boxes, empty input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.geometry.boxes import (
    alpha_from_rotation_y,
    boxes_img_from_lidar,
    corners_from_boxes,
    empty_boxes,
    kitti_from_lidar_boxes,
    lidar_boxes_from_kitti,
    points_in_boxes,
    wrap_angle,
)
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import make_transform, nominal_cam_T_lidar, rotation_about_z

position = st.floats(-50, 50)
size = st.floats(0.1, 12)
angle = st.floats(-3.1, 3.1)
boxes = st.tuples(position, position, position, size, size, size, angle).map(lambda values: np.array([values]))


def test_corners_by_hand():
    corners = corners_from_boxes(np.array([[10.0, 0.0, 1.0, 4.0, 2.0, 1.0, np.pi / 2]]))[0]
    np.testing.assert_allclose(corners[0], [9, 2, 0.5], atol=1e-12)  # bottom front left
    np.testing.assert_allclose(corners[1], [11, 2, 0.5], atol=1e-12)  # bottom front right
    np.testing.assert_allclose(corners[6], [11, -2, 1.5], atol=1e-12)  # top rear right
    np.testing.assert_allclose(corners.mean(axis=0), [10, 0, 1])


def test_kitti_encoding_by_hand():
    """A car 20 m ahead of the camera, standing on the road 1.65 m below it, seen from behind (rotation_y = -pi/2)."""
    cam_T_lidar = nominal_cam_T_lidar()
    box = lidar_boxes_from_kitti([[1.5, 1.6, 4.0]], [[0.0, 1.65, 20.0]], [-np.pi / 2], cam_T_lidar)
    np.testing.assert_allclose(box, [[20.27, 0.0, -0.98, 4.0, 1.6, 1.5, 0.0]], atol=1e-12)
    to_the_left = lidar_boxes_from_kitti([[1.5, 1.6, 4.0]], [[0.0, 1.65, 20.0]], [np.pi], cam_T_lidar)
    assert to_the_left[0, 6] == pytest.approx(np.pi / 2)


@settings(deadline=None)
@given(boxes, st.floats(-0.1, 0.1))
def test_kitti_round_trip(box, yaw):
    cam_T_lidar = nominal_cam_T_lidar() @ make_transform(rotation_about_z(yaw), np.array([0.1, -0.2, 0.3]))
    back = lidar_boxes_from_kitti(*kitti_from_lidar_boxes(box, cam_T_lidar), cam_T_lidar)
    np.testing.assert_allclose(back[:, :6], box[:, :6], atol=1e-9)
    assert abs(wrap_angle(back[0, 6] - box[0, 6])) < 1e-9


@settings(deadline=None)
@given(boxes)
def test_corners_lie_in_their_box_and_points_beyond_do_not(box):
    corners = corners_from_boxes(box)[0]
    assert points_in_boxes(corners, box, margin=1e-6).all()
    beyond = box[0, :3] + 1.1 * (corners - box[0, :3])
    assert not points_in_boxes(beyond, box).any()
    assert points_in_boxes(beyond, box, margin=1.0).shape == (8, 1)


def test_alpha_of_an_object_straight_ahead_is_its_rotation():
    alpha = alpha_from_rotation_y(np.array([0.5, 0.5]), np.array([[0.0, 1.6, 10.0], [10.0, 1.6, 10.0]]))
    np.testing.assert_allclose(alpha, [0.5, 0.5 - np.pi / 4])


def test_wrap_angle():
    np.testing.assert_allclose(
        wrap_angle(np.array([0.0, np.pi, -np.pi, 3 * np.pi + 0.1])), [0, -np.pi, -np.pi, -np.pi + 0.1]
    )


def test_image_boxes_by_hand():
    camera = CameraModel.from_intrinsics(100.0, 100.0, 50.0, 40.0, 101, 81)
    axes = nominal_cam_T_lidar(0.0, 0.0)
    ahead = np.array([[11.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0]])  # near face 10 m away: 1 m is 10 px
    np.testing.assert_allclose(boxes_img_from_lidar(ahead, axes, camera), [[40, 30, 60, 50]])


def test_image_box_of_something_partly_or_wholly_behind():
    camera = CameraModel.from_intrinsics(100.0, 100.0, 50.0, 40.0, 101, 81)
    axes = nominal_cam_T_lidar(0.0, 0.0)
    around = np.array([[0.0, 0.0, 0.0, 4.0, 2.0, 2.0, 0.0], [-10.0, 0.0, 0.0, 4.0, 2.0, 2.0, 0.0]])
    image_boxes = boxes_img_from_lidar(around, axes, camera)
    np.testing.assert_allclose(image_boxes[0], [0, 0, 100, 80])
    assert np.isnan(image_boxes[1]).all()


def test_nothing_in_nothing_out():
    none = empty_boxes()
    camera = CameraModel.from_intrinsics(100.0, 100.0, 50.0, 40.0, 101, 81)
    assert none.shape == (0, 7) and none.dtype == np.float32
    assert corners_from_boxes(none).shape == (0, 8, 3)
    assert points_in_boxes(np.zeros((5, 3)), none).shape == (5, 0)
    assert points_in_boxes(np.zeros((0, 3)), none).shape == (0, 0)
    assert lidar_boxes_from_kitti(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), nominal_cam_T_lidar()).shape == (
        0,
        7,
    )
    assert [part.shape for part in kitti_from_lidar_boxes(none, nominal_cam_T_lidar())] == [(0, 3), (0, 3), (0,)]
    assert boxes_img_from_lidar(none, np.eye(4), camera).shape == (0, 4)
