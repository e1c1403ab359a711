"""CameraInfo by REP-104: which matrix counts, binning, regions, sizes, rectification. Hand numbers."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from monotakd_ros.data.camera_info import CameraInfo, ImageRectifier
from monotakd_ros.errors import CalibrationError, FrameError

K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
P = np.array([[480.0, 0, 330, -24], [0, 490, 250, 0], [0, 0, 1, 0]])
D = np.array([-0.3, 0.1, 0.001, -0.002, 0.0])
INFO = CameraInfo(640, 480, K, np.zeros(5), np.eye(3), P)


def camera_of(info: CameraInfo, width: int = 640, height: int = 480, rectify: bool = False):
    return ImageRectifier(info, width, height, rectify, "/camera_info").camera


def intrinsics(info: CameraInfo, width: int = 640, height: int = 480):
    camera = camera_of(info, width, height)
    return camera.fx, camera.fy, camera.cx, camera.cy


def test_projection_is_taken_as_it_is():
    np.testing.assert_array_equal(camera_of(INFO).img_P_cam, P)


def test_zero_projection_falls_back_to_k():
    camera = camera_of(replace(INFO, P=np.zeros((3, 4))))
    np.testing.assert_array_equal(camera.img_P_cam, np.column_stack([K, np.zeros(3)]))


def test_binning_divides():
    assert intrinsics(replace(INFO, binning=(2, 4)), 320, 120) == (240, 122.5, 165, 62.5)


def test_region_of_interest_is_cut_first():
    info = replace(INFO, roi=(100, 50, 400, 300), binning=(2, 2))
    assert info.image_size == (200, 150)
    assert intrinsics(info, 200, 150) == (240, 245, (330 - 100) / 2, (250 - 50) / 2)


def test_camera_calibrated_at_another_size_is_scaled(caplog):
    assert intrinsics(INFO, 320, 240) == (240, 245, 0.5 * 330.5 - 0.5, 0.5 * 250.5 - 0.5)
    assert "CameraInfo is for 640 x 480 px, the images are 320 x 240: scaled by 0.5" in caplog.text


@pytest.mark.parametrize("size", [(640, 470), (320, 239), (480, 640), (1242, 375)])
def test_size_that_contradicts_is_refused(size):
    with pytest.raises(FrameError, match=rf"/camera_info: the image is {size[0]} x {size[1]}.*for 640 x 480"):
        camera_of(INFO, *size)


def test_size_zero_means_unknown():
    assert camera_of(replace(INFO, width=0, height=0), 123, 45).width == 123


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.diag([500.0, 0, 1])])
def test_uncalibrated(matrix):
    with pytest.raises(CalibrationError, match="not calibrated"):
        camera_of(replace(INFO, K=matrix))


@pytest.mark.parametrize("name", ["K", "D", "P"])
def test_not_finite(name):
    broken = getattr(INFO, name).copy()
    broken.flat[-1] = np.nan
    with pytest.raises(CalibrationError, match=rf"CameraInfo\.{name} is not finite"):
        camera_of(replace(INFO, **{name: broken}))


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", D),
        ("rational_polynomial", np.array([-0.3, 0.1, 0, 0, 0, 0.01, 0, 0])),
        ("equidistant", D[:4] / 10),
    ],
)
def test_rectified_pixels_obey_the_projection(model, distortion):
    """A bright spot drawn where the lens puts a point appears where P projects that point."""
    info = replace(INFO, D=distortion, distortion_model=model, P=np.column_stack([P[:, :3], np.zeros(3)]))
    point_cam = np.array([[[0.4, -0.25, 1.6]]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    raw_px = project(point_cam, np.zeros(3), np.zeros(3), K, distortion)[0].ravel()
    v, u = np.mgrid[:480, :640]
    spot = 255 * np.exp(-((u - raw_px[0]) ** 2 + (v - raw_px[1]) ** 2) / 8)
    rectifier = ImageRectifier(info, 640, 480, True, "x")
    rectified = rectifier.apply(np.repeat(spot.astype(np.uint8)[..., None], 3, axis=2))[:, :, 0].astype(float)
    found = [(rectified * u).sum() / rectified.sum(), (rectified * v).sum() / rectified.sum()]
    expected, _ = rectifier.camera.project(point_cam[0])
    np.testing.assert_allclose(found, expected[0], atol=0.3)
    assert np.abs(raw_px - expected[0]).max() > 3


def test_without_rectification_the_image_is_the_same_array():
    image = np.zeros((480, 640, 3), np.uint8)
    assert ImageRectifier(replace(INFO, D=D), 640, 480, False, "x").apply(image) is image


def test_rectification_of_a_binned_image():
    info = replace(INFO, D=D, binning=(2, 2))
    rectifier = ImageRectifier(info, 320, 240, True, "x")
    assert rectifier.apply(np.zeros((240, 320, 3), np.uint8)).shape == (240, 320, 3)
    assert rectifier.camera.fx == 240


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distortion_model": "thin_prism"}, "unknown distortion model 'thin_prism'"),
        ({"D": np.ones(3)}, "CameraInfo has 3"),
        ({"distortion_model": "equidistant"}, "CameraInfo has 5"),
    ],
)
def test_distortion_that_cannot_be_undone(changes, message):
    with pytest.raises(CalibrationError, match=message):
        camera_of(replace(INFO, **{"D": D, **changes}), rectify=True)


def test_comparison():
    assert INFO.same_as(replace(INFO))
    assert not INFO.same_as(replace(INFO, D=D))
    assert not INFO.same_as(replace(INFO, binning=(2, 2)))
    unknown = replace(INFO, P=np.full((3, 4), np.nan))
    assert unknown.same_as(replace(unknown, P=unknown.P.copy())) and not unknown.same_as(INFO)
