"""KITTI's text formats: hand numbers, round trips, and messages that name file and line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.data.kitti_text import (
    calibration_text,
    format_matrix,
    labels_from_text,
    matrices_from_text,
    matrix,
    text_from_labels,
)
from monotakd_ros.errors import CalibrationError, LabelError
from monotakd_ros.frame import Labels3D
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar

CAR = "Car 0.10 1 -1.57 100.5 150 200 250 1.5 1.6 4.0 2.0 1.7 20.0 -1.57"
AXES = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


def test_hand_numbers():
    labels = labels_from_text(f"{CAR}\n\nDontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n", AXES, "x")
    # bottom centre (2, 1.7, 20) in cam, height 1.5: the centre is at (20, -2, -0.95) in lidar; ry -90 deg faces ahead
    np.testing.assert_allclose(labels.boxes_lidar, [[20, -2, -0.95, 4.0, 1.6, 1.5, 0.0]], atol=1e-3)
    assert labels.class_names == ("Car",)
    assert labels.truncation[0] == 0.1
    assert labels.occlusion[0] == 1
    np.testing.assert_array_equal(labels.boxes_img_px, [[100.5, 150, 200, 250]])
    np.testing.assert_array_equal(labels.dont_care_px, [[1, 2, 3, 4]])


def test_detection_lines_with_a_score_are_read():
    assert len(labels_from_text(f"{CAR} 0.9", AXES, "x")) == 1


def test_empty_text_is_an_empty_scene():
    labels = labels_from_text("\n", AXES, "x")
    assert len(labels) == 0
    assert text_from_labels(labels, AXES) == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Car 0 0 0", "expected 15 fields .16 with a score., got 4"),
        (CAR.replace("20.0", "far"), "expected finite numbers"),
        (CAR.replace("20.0", "nan"), "expected finite numbers"),
        (CAR.replace("1.5 1.6 4.0", "1.5 0 4.0"), "width, length > 0"),
        (f"{CAR} 0.9 extra", "got 17"),
    ],
)
def test_malformed_line_is_named(line, message):
    with pytest.raises(LabelError, match=rf"label_2/000001.txt, line 2: .*{message}"):
        labels_from_text(f"{CAR}\n{line}\n", AXES, "label_2/000001.txt")


@settings(max_examples=50, deadline=None)
@given(
    st.floats(-3.14159, 3.14159),
    st.tuples(*[st.floats(-60, 60)] * 3),
    st.tuples(*[st.floats(0.2, 20)] * 3),
    st.tuples(*[st.floats(-0.05, 0.05)] * 3),
)
def test_round_trip_under_any_small_tilt(heading, center, size, tilt):
    skew = np.array([[0, -tilt[2], tilt[1]], [tilt[2], 0, -tilt[0]], [-tilt[1], tilt[0], 0]])
    cam_T_lidar = nominal_cam_T_lidar()
    cam_T_lidar[:3, :3] = np.round(np.linalg.qr(np.eye(3) + skew)[0] @ cam_T_lidar[:3, :3], 7)
    labels = Labels3D(
        np.array([[*center, *size, heading]]), ("Van",), np.array([0.3]), np.array([2]), np.array([[1.0, 2, 3, 4]])
    )
    again = labels_from_text(text_from_labels(labels, cam_T_lidar), cam_T_lidar, "x")
    difference = again.boxes_lidar - labels.boxes_lidar
    difference[:, 6] = (difference[:, 6] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(difference).max() < 1e-7
    assert (again.truncation, again.occlusion) == (labels.truncation, labels.occlusion)


def test_unknown_fields_survive():
    labels = Labels3D(
        np.array([[10.0, 0, 0, 1, 1, 1, 0]]), ("Car",), np.array([-1.0]), np.array([-1]), np.full((1, 4), np.nan)
    )
    again = labels_from_text(text_from_labels(labels, AXES), AXES, "x")
    assert np.isnan(again.boxes_img_px).all()
    assert (again.truncation[0], again.occlusion[0]) == (-1, -1)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=12, max_size=12))
def test_matrices_come_back_bit_for_bit(values):
    text = f"P2: {format_matrix(np.array(values))}\n"
    np.testing.assert_array_equal(matrix(matrices_from_text(text, "x"), "P2", (3, 4), "x").ravel(), values)


def test_calibration_text_without_lidar_has_no_extrinsic():
    matrices = matrices_from_text(calibration_text(np.eye(3, 4), None), "x")
    assert set(matrices) == {"P0", "P1", "P2", "P3", "R0_rect"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P2 1 2 3", "calib.txt, line 1: expected 'key: numbers'"),
        ("P2: 1 2 3", "calib.txt: P2: expected 12 finite numbers"),
        ("P3: 1 2 3", "calib.txt: expected a line 'P2:'"),
        ("P2: " + "nan " * 12, "expected 12 finite numbers"),
        ("P2: a b c", "expected a line 'P2:'"),
    ],
)
def test_malformed_calibration(text, message):
    with pytest.raises(CalibrationError, match=message):
        matrix(matrices_from_text(text, "calib.txt"), "P2", (3, 4), "calib.txt")


@pytest.mark.parametrize(("written", "read"), [("0.00", 0.0), ("0", 0.0), ("1.00", 1.0), ("1", -1.0), ("2", -1.0)])
def test_a_tracking_flag_is_no_share(written, read):
    line = CAR.replace(" 0.10 ", f" {written} ", 1)
    assert line.split()[1] == written
    assert labels_from_text(line, AXES, "x").truncation.tolist() == [read]


def test_a_whole_number_beside_decimals_is_a_share() -> None:
    """As written by %g, which leaves the decimals of 1.00 out."""
    line = "Car {} 0 -1.5 10 20 30 40 1.5 1.6 3.9 1 1.7 20 0.1\n"
    labels = labels_from_text(line.format("1") + line.format("0.25"), nominal_cam_T_lidar(), "label_2/000001.txt")
    assert labels.truncation.tolist() == [1.0, 0.25]
    alone = labels_from_text(line.format("1") + line.format("0"), nominal_cam_T_lidar(), "label_2/000001.txt")
    assert alone.truncation.tolist() == [-1.0, 0.0]


def test_scores_of_labels_that_a_detector_made():
    labels = labels_from_text(f"{CAR} 0.9\n{CAR} 0.25\n{CAR} 1\n", AXES, "here")
    np.testing.assert_array_equal(labels.scores, [0.9, 0.25, 1.0])
    text = text_from_labels(labels, AXES)
    assert text.splitlines()[1].endswith(" 0.25")
    np.testing.assert_array_equal(labels_from_text(text, AXES, "here").scores, labels.scores)
    np.testing.assert_array_equal(labels.select(np.array([True, False, True])).scores, [0.9, 1.0])


@pytest.mark.parametrize("scores", [("0.5", ""), ("0.5", "1.5"), ("0.5", "-0.1"), ("", "")])
def test_numbers_that_are_no_scores(scores):
    text = "".join(f"{CAR} {score}\n" for score in scores)
    assert labels_from_text(text, AXES, "here").scores is None
