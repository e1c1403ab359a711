"""The pinhole camera: hand numbers, round trips, bad calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.errors import CalibrationError
from monotakd_ros.geometry.camera import CameraModel, pixel_scale_shift

BASELINE = np.array([[721.5, 0, 609.6, 44.86], [0, 721.5, 172.9, 0.2164], [0, 0, 1, 0.0027]])


def test_projection_by_hand():
    camera = CameraModel.from_intrinsics(100.0, 200.0, 50.0, 40.0, 101, 81)
    uv_px, depth = camera.project(np.array([[1.0, -1.0, 10.0], [0.0, 0.0, 2.0]]))
    np.testing.assert_allclose(uv_px, [[60, 20], [50, 40]])
    np.testing.assert_allclose(depth, [10, 2])
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (100, 200, 50, 40)


def test_points_behind_have_no_pixel():
    camera = CameraModel(BASELINE, 1242, 375)
    uv_px, _ = camera.project(np.array([[0.0, 0.0, -5.0], [0.0, 0.0, 0.0], [0.0, 0.0, 5.0]]))
    assert np.isnan(uv_px[0]).all() and np.isfinite(uv_px[2]).all()
    assert camera.contains(uv_px).tolist() == [False, False, True]


@settings(deadline=None)
@given(st.floats(0, 1241), st.floats(0, 374), st.floats(0.5, 200))
def test_unproject_undoes_project(u, v, depth):
    camera = CameraModel(BASELINE, 1242, 375)
    points_cam = camera.unproject(np.array([[u, v]]), np.array([depth]))
    uv_px, back = camera.project(points_cam)
    np.testing.assert_allclose(uv_px, [[u, v]], atol=1e-6)
    np.testing.assert_allclose(back, [depth], rtol=1e-9)


def test_no_points():
    uv_px, depth = CameraModel(BASELINE, 1242, 375).project(np.zeros((0, 3)))
    assert uv_px.shape == (0, 2) and depth.shape == (0,)


def test_image_spans_half_a_pixel_around_its_outer_pixels():
    camera = CameraModel.from_intrinsics(1.0, 1.0, 0.0, 0.0, 4, 3)
    inside = camera.contains(np.array([[-0.5, -0.5], [3.49, 2.49], [3.5, 0.0], [0.0, 2.5], [-0.51, 0.0]]))
    assert inside.tolist() == [True, True, False, False, False]


@settings(deadline=None)
@given(st.floats(0.25, 4), st.floats(0.25, 4), st.floats(-50, 50), st.floats(-50, 50))
def test_warped_camera_projects_where_the_pixel_went(scale_u, scale_v, shift_u, shift_v):
    camera = CameraModel(BASELINE, 1242, 375)
    new_from_old = pixel_scale_shift(scale_u, scale_v, shift_u, shift_v)
    warped = camera.warped(new_from_old, 800, 300)
    point = np.array([[3.0, 1.0, 12.0]])
    (old,), (new,) = camera.project(point)[0], warped.project(point)[0]
    np.testing.assert_allclose(new, (new_from_old @ [*old, 1.0])[:2], atol=1e-6)


def test_halving_an_image_keeps_its_outer_edge():
    new = pixel_scale_shift(0.5, 0.5, 0.0, 0.0) @ [-0.5, 9.5, 1.0]
    np.testing.assert_allclose(new, [-0.5, 4.5, 1.0])


@pytest.mark.parametrize(
    ("projection", "size", "words"),
    [
        (np.zeros((3, 3)), (10, 10), "3x4"),
        (np.full((3, 4), np.nan), (10, 10), "finite"),
        (np.zeros((3, 4)), (10, 10), "calibrated"),
        (BASELINE, (0, 10), "image size"),
    ],
)
def test_bad_calibration_is_named(projection, size, words):
    with pytest.raises(CalibrationError, match=words):
        CameraModel(projection, *size)


def test_same_as_compares_size_and_projection():
    camera = CameraModel(BASELINE, 1242, 375)
    assert camera.same_as(CameraModel(BASELINE.copy(), 1242, 375))
    assert not camera.same_as(CameraModel(BASELINE, 1242, 374))
    with pytest.raises(ValueError, match="read-only"):
        camera.img_P_cam[0, 0] = 1.0
