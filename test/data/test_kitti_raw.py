"""Raw drives: stamps, calibration chain, and the ego pose from GPS/IMU."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from monotakd_ros.data.kitti_raw import KittiRawDrive, poses_from_oxts
from monotakd_ros.data.source import open_source
from monotakd_ros.errors import CalibrationError, SourceError
from monotakd_ros.geometry.transforms import invert_transform

CAM_TO_CAM = """\
calib_time: 09-Jan-2012 13:57:47
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 720 0 30 45 0 720 20 0.2 0 0 1 0.003
"""
VELO_TO_CAM = "calib_time: 15-Mar-2012 11:37:16\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.08 -0.27\n"
IMU_TO_VELO = "R: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n"


def packet(latitude=49.0, longitude=8.0, altitude=100.0, yaw=0.0) -> str:
    return f"{latitude!r} {longitude!r} {altitude!r} 0 0 {yaw!r} " + "0 " * 24


@pytest.fixture
def drive(tmp_path):
    folder = tmp_path / "2011_09_26" / "2011_09_26_drive_0001_sync"
    for kind in ("image_02", "velodyne_points", "oxts"):
        (folder / kind / "data").mkdir(parents=True)
        stamps = [f"2011-09-26 13:02:2{index}.{123456789 if kind == 'image_02' else 1:09d}" for index in range(3)]
        (folder / kind / "timestamps.txt").write_text("\n".join(stamps) + "\n")
    (folder.parent / "calib_cam_to_cam.txt").write_text(CAM_TO_CAM)
    (folder.parent / "calib_velo_to_cam.txt").write_text(VELO_TO_CAM)
    (folder.parent / "calib_imu_to_velo.txt").write_text(IMU_TO_VELO)
    for index in range(3):
        name = f"{index:010d}"
        cv2.imwrite(str(folder / "image_02" / "data" / f"{name}.png"), np.zeros((40, 60, 3), np.uint8))
        np.zeros((4, 4), "<f4").tofile(folder / "velodyne_points" / "data" / f"{name}.bin")
        (folder / "oxts" / "data" / f"{name}.txt").write_text(packet(longitude=8.0 + 1e-5 * index))
    return folder


def test_one_drive(drive):
    frames = list(KittiRawDrive(drive).frames())
    assert [frame.name for frame in frames] == ["0000000000", "0000000001", "0000000002"]
    # date -u -d "2011-09-26 13:02:20" +%s
    assert frames[0].stamp_ns == 1317042140_123456789
    assert frames[1].points_stamp_ns == 1317042141_000000001
    np.testing.assert_allclose(frames[0].cam_T_lidar @ [10, 1, 2, 1], [-1, -2.08, 9.73, 1])
    # 1e-5 degrees of longitude at 49 degrees: 1.1132 m * cos(49 deg), to the east, and yaw 0 looks east
    moved = invert_transform(frames[0].world_T_lidar) @ frames[1].world_T_lidar
    np.testing.assert_allclose(moved[:3, 3], [1.11319 * np.cos(np.radians(49)), 0, 0], atol=1e-4)


def test_date_folder_with_one_drive(drive):
    assert len(open_source(drive.parent)) == 3
    shutil.copytree(drive, drive.parent / "2011_09_26_drive_0002_sync")
    with pytest.raises(SourceError, match="holds 2 drives, give one: 2011_09_26_drive_0001_sync"):
        KittiRawDrive(drive.parent)


def test_missing_cloud_keeps_the_others_aligned(drive):
    """KITTI's drive 0009 lacks some clouds: its stamps count frames, not files."""
    (drive / "velodyne_points" / "data" / "0000000001.bin").unlink()
    frames = list(KittiRawDrive(drive).frames())
    assert frames[1].points_lidar is None
    assert frames[2].points_stamp_ns == 1317042142_000000001


def test_without_gps_there_is_no_pose(drive):
    shutil.rmtree(drive / "oxts")
    assert next(iter(KittiRawDrive(drive).frames())).world_T_lidar is None


@pytest.mark.parametrize("name", ["calib_cam_to_cam.txt", "calib_velo_to_cam.txt"])
def test_missing_calibration(drive, name):
    (drive.parent / name).unlink()
    with pytest.raises(CalibrationError, match=name):
        KittiRawDrive(drive)


def test_malformed_files(drive):
    (drive / "oxts" / "data" / "0000000001.txt").write_text("49 8 x")
    with pytest.raises(SourceError, match="oxts"):
        KittiRawDrive(drive)
    (drive / "image_02" / "timestamps.txt").write_text("yesterday\n")
    with pytest.raises(SourceError, match=r"timestamps\.txt"):
        KittiRawDrive(drive)


def test_oxts_yaw_turns_counter_clockwise_from_east():
    packets = np.array([[49, 8, 100, 0, 0, 0], [49, 8, 101, 0, 0, np.pi / 2]])
    start, turned = poses_from_oxts(packets)
    np.testing.assert_allclose(start, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(turned @ [1, 0, 0, 1], [0, 1, 1, 1], atol=1e-9)


def test_oxts_northward_motion():
    packets = np.array([[49, 8, 0, 0, 0, 0], [49 + 1e-5, 8, 0, 0, 0, 0.0]])
    # a degree of latitude on the sphere is pi / 180 * 6378137 m
    np.testing.assert_allclose(poses_from_oxts(packets)[1][:3, 3], [0, 1.11319, 0], atol=1e-4)


def test_real_drive(data_dir):
    source = open_source(data_dir / "kitti_raw" / "2011_09_26")
    frames = list(source.frames())
    assert len(source) == len(frames) == 3
    # a timestamp line of the dataset: 2011-09-26 13:04:45.257018112
    assert frames[0].stamp_ns == 1317042285_257018112
    assert all(frame.labels is not None and len(frame.points_lidar) > 100_000 for frame in frames)
    assert frames[2].world_T_lidar is not None
