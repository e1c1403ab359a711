"""KITTI object folders: layouts, what is optional, and what stops with a clear message."""

from __future__ import annotations

import shutil
from itertools import islice, pairwise

import cv2
import numpy as np
import pytest

from monotakd_ros.data.kitti import KittiFolder
from monotakd_ros.data.source import SourceOptions, find_frames, open_source
from monotakd_ros.errors import CalibrationError, FrameError, LabelError, SourceError
from monotakd_ros.geometry.boxes import boxes_img_from_lidar, points_in_boxes
from monotakd_ros.geometry.transforms import transform_points

CALIBRATION = """\
P0: 700 0 30 0 0 700 20 0 0 0 1 0
P2: 700 0 30 45 0 710 20 0.2 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0.01 0 0 -1 -0.07 1 0 0 -0.27
Tr_imu_to_velo: 1 0 0 0 0 1 0 0 0 0 1 0
"""
LABEL = "Car 0 0 0 1 2 3 4 1.5 1.6 4 2 1.7 20 -1.57\n"


@pytest.fixture
def folder(tmp_path):
    """Three frames as the benchmark ships them: image, calibration, label, cloud."""
    subset = tmp_path / "kitti" / "training"
    for kind in ("image_2", "calib", "label_2", "velodyne"):
        (subset / kind).mkdir(parents=True)
    for index in range(3):
        image = np.zeros((40, 60, 3), np.uint8)
        image[:, :, 2] = 200  # red, as OpenCV stores it
        cv2.imwrite(str(subset / "image_2" / f"{index:06d}.png"), image)
        (subset / "calib" / f"{index:06d}.txt").write_text(CALIBRATION)
        (subset / "label_2" / f"{index:06d}.txt").write_text(LABEL)
        np.array([[10, 1, 0, 0.5], [20, 2, 0, 0.25]], "<f4").tofile(subset / "velodyne" / f"{index:06d}.bin")
    return subset.parent


def test_one_frame(folder):
    source = KittiFolder(folder)
    assert len(source) == 3
    frame = next(iter(source.frames()))
    assert frame.name == "000000"
    assert tuple(frame.image[0, 0]) == (200, 0, 0)
    assert (frame.camera.width, frame.camera.height) == (60, 40)
    np.testing.assert_array_equal(frame.camera.img_P_cam[:, 3], [45, 0.2, 0.003])
    np.testing.assert_allclose(frame.cam_T_lidar @ [10, 0, 0, 1], [0.01, -0.07, 9.73, 1])
    assert frame.points_lidar.shape == (2, 4)
    assert frame.labels.class_names == ("Car",)
    assert frame.world_T_lidar is None


def test_frames_found_by_name_leave_the_others_unread(folder):
    """A malformed label would stop whoever reads it."""
    (folder / "training" / "label_2" / "000000.txt").write_text("Car 0 0 0")
    (folder / "training" / "image_2" / "000002.png").write_bytes(b"no image")
    source = KittiFolder(folder)
    found = find_frames(source, ["000001", "000002", "000009"])
    assert list(found) == ["000001"]
    assert found["000001"].labels.class_names == ("Car",)
    with pytest.raises(FrameError, match="no frame '000009'"):
        source.frame("000009")
    assert find_frames(source, []) == {}


def test_rectification_comes_after_the_extrinsic(folder):
    path = folder / "training" / "calib" / "000000.txt"
    path.write_text(CALIBRATION.replace("R0_rect: 1 0 0 0 1 0 0 0 1", "R0_rect: 0 -1 0 1 0 0 0 0 1"))
    frame = next(iter(KittiFolder(folder).frames()))
    np.testing.assert_allclose(frame.cam_T_lidar @ [10, 0, 0, 1], [0.07, 0.01, 9.73, 1])


def test_layouts(folder):
    assert len(KittiFolder(folder / "training")) == 3
    assert isinstance(open_source(folder), KittiFolder)
    (folder / "training").rename(folder / "testing")
    shutil.rmtree(folder / "testing" / "label_2")
    shutil.rmtree(folder / "testing" / "velodyne")
    frames = list(KittiFolder(folder).frames())
    assert len(frames) == 3
    assert all(frame.labels is None and frame.points_lidar is None for frame in frames)


def test_can_be_read_twice(folder):
    source = KittiFolder(folder)
    assert [frame.name for frame in source.frames()] == [frame.name for frame in source.frames()]


def test_stamps_increase_and_are_not_zero(folder):
    stamps = [frame.stamp_ns for frame in KittiFolder(folder).frames()]
    assert stamps[0] > 0
    assert all(later > earlier for earlier, later in pairwise(stamps))


def test_split(folder, caplog):
    (folder / "ImageSets").mkdir()
    (folder / "ImageSets" / "val.txt").write_text("000001\n000002\n000077\n")
    source = KittiFolder(folder, SourceOptions(split="val"))
    assert [frame.name for frame in source.frames()] == ["000001", "000002"]
    assert "lists 3 frames, 2 of them are here" in caplog.text
    with pytest.raises(SourceError, match=r"nope\.txt"):
        KittiFolder(folder, SourceOptions(split="nope"))


def test_missing_calibration_stops_at_opening(folder):
    (folder / "training" / "calib" / "000001.txt").unlink()
    with pytest.raises(CalibrationError, match=r"calib/000001\.txt.*1 of 3"):
        KittiFolder(folder)


@pytest.mark.parametrize("text", ["P2: 1 2\n", "P2 without colon", CALIBRATION.replace("P2: 700", "P2: 0"), "\xff\xfe"])
def test_malformed_calibration_stops(folder, text):
    (folder / "training" / "calib" / "000001.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(CalibrationError):
        list(KittiFolder(folder).frames(lambda error: None))


def test_malformed_label_stops_and_names_file_and_line(folder):
    (folder / "training" / "label_2" / "000002.txt").write_text(f"{LABEL}Car 1 2\n")
    with pytest.raises(LabelError, match=r"label_2/000002\.txt, line 2: expected 15 fields .16 with a score., got 3"):
        list(KittiFolder(folder).frames(lambda error: None))


def test_empty_label_file_is_an_empty_scene(folder):
    (folder / "training" / "label_2" / "000000.txt").write_text("")
    assert len(next(iter(KittiFolder(folder).frames())).labels) == 0


@pytest.mark.parametrize("kind", ["image_2/000001.png", "velodyne/000001.bin"])
def test_damaged_file_is_a_frame_error(folder, kind):
    path = folder / "training" / kind
    path.write_bytes(path.read_bytes()[:-5])
    errors = []
    assert [frame.name for frame in KittiFolder(folder).frames(errors.append)] == ["000000", "000002"]
    assert kind in str(errors[0])
    with pytest.raises(FrameError):
        list(KittiFolder(folder).frames())


def test_all_frames_bad_is_a_source_error(folder):
    for path in (folder / "training" / "image_2").iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(SourceError, match="none of its 3 frames"):
        list(KittiFolder(folder).frames(lambda error: None))


def test_without_lidar_calibration_labels_get_a_nominal_frame(folder):
    shutil.rmtree(folder / "training" / "velodyne")
    for path in (folder / "training" / "calib").iterdir():
        path.write_text("".join(line for line in CALIBRATION.splitlines(keepends=True) if line.startswith("P")))
    frame = next(iter(KittiFolder(folder).frames()))
    center_cam = transform_points(frame.cam_T_lidar, frame.labels.boxes_lidar[:, :3])
    np.testing.assert_allclose(center_cam, [[2, 1.7 - 0.75, 20]], atol=1e-9)


def test_open_source_tells_what_it_found(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        open_source(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match=r"expected a rosbag.*found notes\.txt"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match=r"found a \.txt file"):
        open_source(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["kitti", "kitti_image_only"])
def test_real_frames(data_dir, name):
    source = open_source(data_dir / name)
    assert len(source) == 13
    for frame in islice(source.frames(), 5):
        assert (frame.points_lidar is None) == (name == "kitti_image_only")
        projected = boxes_img_from_lidar(frame.labels.boxes_lidar, frame.cam_T_lidar, frame.camera)
        whole = frame.labels.truncation == 0  # a projected box is looser than the annotated one, by some pixels
        difference = np.abs(projected - frame.labels.boxes_img_px)[whole]
        assert difference.max(initial=0) < 40


def test_real_clouds_fill_the_boxes(data_dir):
    """Boxes stand on LiDAR points: most cars nearer than 30 m hold dozens."""
    counts = []
    for frame in islice(open_source(data_dir / "kitti").frames(), 2, 6):
        near = np.array([name == "Car" for name in frame.labels.class_names], bool)
        near &= frame.labels.boxes_lidar[:, 0] < 30
        counts += points_in_boxes(frame.points_lidar, frame.labels.boxes_lidar[near]).sum(axis=0).tolist()
    assert len(counts) >= 8
    assert np.median(counts) > 100
