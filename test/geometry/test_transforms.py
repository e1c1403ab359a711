"""Rigid transforms: hand numbers, round trips, bad quaternions."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from monotakd_ros.errors import CalibrationError
from monotakd_ros.geometry.transforms import (
    LIDAR_TO_OPTICAL_ROTATION,
    invert_transform,
    make_transform,
    nominal_cam_T_lidar,
    quaternion_from_rotation,
    rotation_about_z,
    rotation_from_quaternion,
    transform_points,
)

component = st.floats(-1, 1)
quaternions = st.tuples(component, component, component, component).map(np.array)


def test_transform_by_hand():
    target_T_source = make_transform(rotation_about_z(np.pi / 2), np.array([1.0, 2.0, 3.0]))
    moved = transform_points(target_T_source, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 5.0]]))
    np.testing.assert_allclose(moved, [[1, 3, 3], [0, 2, 8]], atol=1e-12)


def test_no_points():
    assert transform_points(np.eye(4), np.zeros((0, 3))).shape == (0, 3)


@settings(deadline=None)
@given(quaternions, st.tuples(component, component, component).map(np.array))
def test_inverse_undoes(quaternion, translation):
    assume(np.linalg.norm(quaternion) > 1e-3)
    transform = make_transform(rotation_from_quaternion(quaternion), 50 * translation)
    np.testing.assert_allclose(invert_transform(transform) @ transform, np.eye(4), atol=1e-9)


@settings(deadline=None)
@example(np.array([0.0, 0.0, 4e-293, -1.0]))
@given(quaternions)
def test_quaternion_round_trip_and_opencv(quaternion):
    assume(np.linalg.norm(quaternion) > 1e-3)
    rotation = rotation_from_quaternion(quaternion)
    length = math.hypot(*quaternion[:3])  # squares of tiny numbers would vanish
    angle_axis = 2 * np.arctan2(length, quaternion[3]) * np.asarray(quaternion[:3]) / max(length, 1e-300)
    np.testing.assert_allclose(rotation, cv2.Rodrigues(angle_axis)[0], atol=1e-9)
    back = quaternion_from_rotation(rotation)
    assert back[3] >= 0 and np.linalg.norm(back) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation_from_quaternion(back), rotation, atol=1e-7)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_survive(axis):
    rotation = -np.eye(3)
    rotation[axis, axis] = 1
    np.testing.assert_allclose(rotation_from_quaternion(quaternion_from_rotation(rotation)), rotation, atol=1e-9)


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [np.nan, 0, 0, 1], [np.inf, 0, 0, 1]])
def test_useless_quaternion_is_named(quaternion):
    with pytest.raises(CalibrationError, match="non-zero length"):
        rotation_from_quaternion(np.array(quaternion, dtype=np.float64))


def test_optical_axes_and_nominal_mount():
    np.testing.assert_array_equal(LIDAR_TO_OPTICAL_ROTATION @ [1, 0, 0], [0, 0, 1])
    np.testing.assert_array_equal(LIDAR_TO_OPTICAL_ROTATION @ [0, 1, 0], [-1, 0, 0])
    camera_in_lidar = np.array([[0.27, 0.0, -0.08]])
    np.testing.assert_allclose(transform_points(nominal_cam_T_lidar(), camera_in_lidar), np.zeros((1, 3)), atol=1e-12)
    ahead = transform_points(nominal_cam_T_lidar(), np.array([[10.27, 1.0, -0.08]]))
    np.testing.assert_allclose(ahead, [[-1, 0, 10]], atol=1e-12)
