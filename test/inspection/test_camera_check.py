"""Images against CameraInfo, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.data.camera_info import CameraInfo
from monotakd_ros.inspection.camera_check import check_camera
from monotakd_ros.inspection.scan import StampedCameraInfo


def info(fx=600.0, fy=600.0, cx=320.0, cy=240.0, D=(0.0,) * 5, P=None, size=(640, 480)) -> StampedCameraInfo:
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    P = np.column_stack([K, np.zeros(3)]) if P is None else P
    return StampedCameraInfo(0, "cam", CameraInfo(*size, K, np.array(D), np.eye(3), P))


def check(*infos, size=(640, 480), frames=None, is_rectified=False):
    return check_camera(infos, size, {"cam": 3} if frames is None else frames, is_rectified, "/image")


def test_a_usual_camera():
    report = check(info())
    assert (report.problems, report.oddities) == ((), ())
    assert report.focal_px == (600, 600)
    assert report.field_of_view_deg == pytest.approx(56.14, abs=0.01)
    assert (report.changes, report.has_distortion) == (0, False)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"fx": 9000.0, "fy": 9000.0}, "field of view of 4 degrees"),
        ({"fy": 700.0}, "focal lengths differ"),
        ({"cx": 10.0}, "principal point lies at 2% and 50%"),
        ({"D": (-0.3, 0.1, 0, 0, 0)}, "P is K"),
        ({"size": (1280, 960)}, "images are 640 x 480 px, CameraInfo is for 1280 x 960 px"),
    ],
)
def test_what_is_odd(changed, words):
    report = check(info(**changed))
    assert report.problems == ()
    assert words in "\n".join(report.oddities)


def test_rectified_images_may_have_distortion_in_their_camera_info():
    assert check(info(D=(-0.3, 0.1, 0, 0, 0)), is_rectified=True).oddities == ()


def test_what_is_wrong():
    assert "not calibrated" in check(info(fx=0.0)).problems[0]
    assert "CameraInfo is for 640 x 400" in check(info(size=(640, 400))).problems[0]


def test_frames():
    assert "images name several frames: a, cam" in check(info(), frames={"cam": 5, "a": 1}).oddities
    assert check(info(), frames={"/cam": 5}).oddities == ()
    assert "of CameraInfo 'cam'" in check(info(), frames={"other": 5}).oddities[0]


def test_nothing_known():
    report = check(size=None, frames={})
    assert (report.image_size, report.info_size, report.image_frame) == (None, None, None)
    assert report.problems == ()
    assert check(info(), info(fx=601.0)).changes == 1
