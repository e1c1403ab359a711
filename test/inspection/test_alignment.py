"""The calibration check: planted errors are found, good recordings are left alone, and it says when it cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monotakd_ros.geometry.transforms import invert_transform, make_transform
from monotakd_ros.inspection.alignment import SHIFTS, Alignment, EdgeFrame, edge_frame, edges_in_camera, rotation_of
from monotakd_ros.inspection.alignment_search import (
    AGREES,
    BOTH,
    CANNOT_TELL,
    NOWHERE,
    ROTATION,
    SHIFT,
    check_alignment,
)
from monotakd_ros.inspection.findings import corrections


def edge_frames(frames, degrees=(0.0, 0.0, 0.0), late=0, number=14) -> list[EdgeFrame]:
    """Of a drive whose recorded extrinsic is turned, and whose clouds are `late` periods late."""
    turn = make_transform(rotation_of(degrees), np.zeros(3))
    found = []
    for index in range(3, 3 + number):
        frame = frames[index]
        clouds = {shift: frames[index + shift - late] for shift in SHIFTS}
        edges = {shift: edges_in_camera(f.points_lidar[:, :3], turn @ frame.cam_T_lidar) for shift, f in clouds.items()}
        stamps = {shift: f.points_stamp_ns + late * 100_000_000 for shift, f in clouds.items()}
        found.append(edge_frame(frame.stamp_ns, frame.image, frame.camera, edges, stamps))
    return found


@pytest.fixture(scope="module")
def straight(drive_frames) -> list[EdgeFrame]:
    return edge_frames(drive_frames)


def test_a_good_recording_is_left_alone(straight):
    report = check_alignment(Alignment(straight))
    assert report.verdict == AGREES
    assert report.correction_deg == (0, 0, 0)
    assert report.correction_shift == 0
    assert corrections(report) == []
    assert report.score > 0.5
    assert all(estimate.can_tell for estimate in report.rotation_deg.values())
    assert report.shift_ms.can_tell
    assert abs(report.shift_ms.value) < 5


@pytest.mark.parametrize(("axis", "degrees"), [(0, 1.0), (1, 1.0), (2, 2.0)])
def test_a_planted_turn_is_found_about_each_axis(drive_frames, axis, degrees):
    planted = [0.0, 0.0, 0.0]
    planted[axis] = degrees
    report = check_alignment(Alignment(edge_frames(drive_frames, planted)))
    assert report.verdict == ROTATION
    np.testing.assert_allclose(report.correction_deg, np.negative(planted), atol=0.2)
    angle = report.rotation_deg["xyz"[axis]]
    assert angle.low < angle.high < 0.3 - degrees
    assert report.improvement.low > 0
    assert report.improved_share > 0.9
    assert "would agree better" in corrections(report)[0]


def test_a_degree_of_roll_is_measured_but_earns_too_little_in_a_small_image(drive_frames):
    report = check_alignment(Alignment(edge_frames(drive_frames, (0.0, 0.0, 1.0))))
    assert report.rotation_deg["z"].value == pytest.approx(-1.0, abs=0.2)
    assert report.verdict == AGREES


def test_a_planted_shift_is_found(drive_frames):
    report = check_alignment(Alignment(edge_frames(drive_frames, late=1)))
    assert report.verdict == SHIFT
    assert report.shift_ms.value == pytest.approx(100, abs=10)
    assert corrections(report) == ["a shift of -100 ms of the clouds' stamps would agree better (they are 100 ms late)"]


@pytest.mark.parametrize(("late_ms", "is_reported"), [(40, True), (-45, True), (10, False)])
def test_stamps_that_are_late_by_less_than_half_a_period(straight, late_ms, is_reported):
    """The right clouds are paired, yet their stamps are wrong."""
    moved = [
        replace(frame, cloud_stamps_ns={s: stamp + late_ms * 10**6 for s, stamp in frame.cloud_stamps_ns.items()})
        for frame in straight
    ]
    report = check_alignment(Alignment(moved))
    assert report.correction_shift == 0
    assert report.verdict == (SHIFT if is_reported else AGREES)
    assert report.correction_ms == pytest.approx(-late_ms if is_reported else 0, abs=5)
    assert len(corrections(report)) == is_reported


def test_both_at_once(drive_frames):
    report = check_alignment(Alignment(edge_frames(drive_frames, (0.0, -0.8, 0.0), late=-1, number=12)))
    assert report.verdict == BOTH
    np.testing.assert_allclose(report.correction_deg, [0, 0.8, 0], atol=0.2)
    assert corrections(report)[1].startswith("a shift of +1")
    assert corrections(report)[1].endswith("ms early)")


def test_a_scene_that_stands_still_does_not_tell_the_time(drive_frames):
    still = edge_frames([drive_frames[10]] * 20)
    report = check_alignment(Alignment(still))
    assert report.verdict == AGREES
    assert not report.shift_ms.can_tell


def test_images_that_do_not_belong_cannot_tell(straight):
    noise = np.random.default_rng(0).integers(0, 2, (len(straight), 1, *straight[0].maps.shape[1:]), dtype=np.uint8)
    maps = np.repeat(noise * 200, 2, axis=1)
    report = check_alignment(Alignment([replace(frame, maps=maps[i]) for i, frame in enumerate(straight)]))
    assert report.verdict == CANNOT_TELL
    assert report.reason == NOWHERE
    assert report.correction_deg == (0, 0, 0)


def test_too_few_frames_or_edges(straight):
    assert check_alignment(Alignment([])).verdict == CANNOT_TELL
    few = check_alignment(Alignment(straight[:4]))
    assert few.verdict == CANNOT_TELL
    assert "4 frames (needed: 6)" in few.reason
    none = [replace(f, edges={s: e.select(np.zeros(0, int)) for s, e in f.edges.items()}) for f in straight]
    assert check_alignment(Alignment(none)).frames == 0


def test_without_neighbouring_clouds_the_rotation_is_told_alone(straight):
    alone = [replace(frame, edges={0: frame.edges[0]}) for frame in straight]
    report = check_alignment(Alignment(alone))
    assert report.verdict == AGREES
    assert report.shift_ms is None


def test_another_cameras_frames_are_passed_over(straight, drive_frames):
    other = replace(straight[0], camera=drive_frames[0].camera.warped(np.diag([2.0, 2.0, 1.0]), 960, 320))
    assert Alignment([*straight, other]).num_frames == len(straight)


def test_scores_do_not_depend_on_the_clouds_axes(drive_frames):
    """A depth camera's optical axes, or a LiDAR mounted backwards: the same edges."""
    frame = drive_frames[5]
    points = frame.points_lidar[:, :3].astype(np.float64)
    expected = edges_in_camera(points, frame.cam_T_lidar)
    backwards = make_transform(np.diag([-1.0, -1.0, 1.0]), [0, 0, 0])
    turned = points @ backwards[:3, :3].T
    got = edges_in_camera(turned, frame.cam_T_lidar @ invert_transform(backwards))
    np.testing.assert_allclose(got.points, expected.points, atol=1e-9)
    optical = points @ frame.cam_T_lidar[:3, :3].T
    seen = edges_in_camera(optical, make_transform(np.eye(3), frame.cam_T_lidar[:3, 3]))
    np.testing.assert_allclose(seen.points, expected.points, atol=1e-9)
