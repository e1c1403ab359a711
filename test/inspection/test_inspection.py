"""Whole bags, each with one thing wrong: what is said about it, and that nothing of it stops the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.data.bag_reader import BagReader
from monotakd_ros.data.bag_writer import BagFile
from monotakd_ros.data.kitti_text import calibration_text
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import BagError
from monotakd_ros.geometry.transforms import invert_transform, make_transform, nominal_cam_T_lidar
from monotakd_ros.inspection import scan
from monotakd_ros.inspection.alignment_search import AGREES, BOTH, CANNOT_TELL
from monotakd_ros.inspection.findings import POOR, READY, UNUSABLE
from monotakd_ros.inspection.inspection import Inspection, inspect_bag
from monotakd_ros.inspection.overlay import draw_inspection
from monotakd_ros.inspection.stamps import timing
from monotakd_ros.inspection.transform_record import turn_deg

BUILDER = MessageBuilder(bag_message_types())
IMAGE, INFO, POINTS = "/cam/image_raw", "/cam/camera_info", "/velodyne_points"
PERIOD_NS = 100_000_000


class Recorder:
    """Writes the drive's first frames message by message."""

    def __init__(self, folder: Path, frames: list) -> None:
        self.bag, self.folder, self.frames = BagFile(folder), folder, frames

    def write(self, topic: str, message, stamp_ns: int) -> None:
        self.bag.write(topic, message, stamp_ns)

    def static(self, parent: str, child: str, pose=None, stamp_ns: int | None = None) -> None:
        stamp_ns = self.frames[0].stamp_ns if stamp_ns is None else stamp_ns
        self.write(
            "/tf_static", BUILDER.transform(np.eye(4) if pose is None else pose, parent, child, stamp_ns), stamp_ns
        )

    def extrinsics(self) -> None:
        self.static("velodyne", "camera_optical", invert_transform(self.frames[0].cam_T_lidar))

    def image(self, index: int, topic: str = IMAGE, stamp_ns: int | None = None) -> None:
        frame = self.frames[index]
        message = BUILDER.image(frame.image, frame.stamp_ns if stamp_ns is None else stamp_ns, "camera_optical")
        self.write(topic, message, frame.stamp_ns)

    def info(self, index: int, topic: str = INFO, frame_id: str = "camera_optical", **changes) -> None:
        frame = self.frames[index]
        message = BUILDER.camera_info(frame.camera, frame.stamp_ns, frame_id)
        for name, value in changes.items():
            setattr(message, name, value)
        self.write(topic, message, frame.stamp_ns)

    def points(self, index: int, topic: str = POINTS, stamp_ns: int | None = None) -> None:
        frame = self.frames[index]
        stamp_ns = frame.stamp_ns if stamp_ns is None else stamp_ns
        self.write(topic, BUILDER.point_cloud(frame.points_lidar[::20], stamp_ns, "velodyne"), frame.stamp_ns)

    def moment(self, index: int) -> None:
        self.image(index)
        self.info(index)
        self.points(index)

    def done(self) -> Path:
        self.bag.close()
        return self.folder


@pytest.fixture
def recorder(tmp_path, drive_frames) -> Recorder:
    return Recorder(tmp_path / "bag", drive_frames)


def record(recorder: Recorder, count: int = 4, moment: Callable[[int], None] | None = None) -> Inspection:
    for index in range(count):
        (moment or recorder.moment)(index)
    return inspected(recorder)


def inspected(recorder: Recorder, **options) -> Inspection:
    result = inspect_bag(recorder.done(), SourceOptions(**options))
    json.dumps(result.to_dict())
    return result


def said(inspection: Inspection, severity: str) -> str:
    return "\n".join(finding.text for finding in inspection.findings if finding.severity == severity)


def test_a_good_bag(drive):
    result = inspect_bag(drive)
    assert result.verdict == READY
    assert (result.messages, result.share_read) == (81, 1.0)
    assert (result.images_sampled, result.clouds_sampled) == (16, 80)
    assert result.lookup.share == 1.0
    assert result.sync.median_ms == 0
    assert result.alignment.verdict == AGREES
    assert result.camera.focal_px == (280, 280)
    assert 0.7 < result.share_in_view < 0.95
    assert said(result, "problem") == said(result, "warning") == ""
    assert draw_inspection(result).shape == (28 + 414, 1242, 3)


def test_no_tf(recorder):
    result = record(recorder)
    assert "no transform from velodyne to camera_optical" in said(result, "problem")
    assert result.transforms.drawing == ()
    assert result.verdict == UNUSABLE
    assert result.images_sampled == 4
    assert draw_inspection(result) is None


def test_a_calibration_file_stands_in_for_tf(recorder, drive_frames, tmp_path):
    path = tmp_path / "calib.txt"
    path.write_text(calibration_text(drive_frames[0].camera.img_P_cam, drive_frames[0].cam_T_lidar))
    for index in range(4):
        recorder.moment(index)
    result = inspected(recorder, calibration=path)
    assert result.lookup.from_file
    assert result.share_in_view > 0.5
    assert result.verdict == READY


def test_no_cloud(recorder):
    result = record(recorder, moment=lambda index: (recorder.image(index), recorder.info(index)))
    assert "there is no cloud" in said(result, "warning")
    assert (result.cloud, result.sync, result.alignment, result.lookup) == (None, None, None, None)
    assert result.camera.image_size == (480, 160)


def test_no_camera(recorder):
    result = record(recorder, moment=recorder.points)
    assert "no camera topic" in said(result, "problem")
    assert result.camera is None
    assert result.cloud.fields[0] == ("x", "float32")
    assert result.cloud.points == 1463
    assert result.clouds_sampled == 4


def test_two_cameras_name_the_option(recorder):
    def moment(index: int) -> None:
        for side in ("left", "right"):
            recorder.image(index, f"/{side}/image_raw")
            recorder.info(index, f"/{side}/camera_info")
        recorder.points(index)

    recorder.extrinsics()
    for index in range(3):
        moment(index)
    path = recorder.done()
    result = inspect_bag(path)
    assert "choose one with --image-topic: /left/image_raw, /right/image_raw" in said(result, "problem")
    assert result.cloud is not None
    chosen = inspect_bag(path, SourceOptions(image_topic="/right/image_raw"))
    assert chosen.verdict == READY
    assert chosen.choice.camera_info == "/right/camera_info"


def test_no_camera_info(recorder):
    result = record(recorder, moment=lambda index: (recorder.image(index), recorder.points(index)))
    assert "no CameraInfo" in said(result, "problem")
    assert result.camera.image_size == (480, 160)


def test_unknown_types_are_listed(recorder):
    def moment(index: int) -> None:
        recorder.moment(index)
        recorder.write("/imu", BUILDER.make("sensor_msgs/msg/Imu"), recorder.frames[index].stamp_ns)

    recorder.extrinsics()
    result = record(recorder, moment=moment)
    (imu,) = (topic for topic in result.topics if topic.name == "/imu")
    assert not imu.is_known_type
    assert imu.messages == 4
    assert result.verdict == READY


def test_an_empty_bag(tmp_path):
    BagFile(tmp_path / "bag").close()
    result = inspect_bag(tmp_path / "bag")
    assert said(result, "problem") == "the bag holds no messages"
    assert result.topics == ()
    json.dumps(result.to_dict())


def test_no_bag(tmp_path):
    (tmp_path / "bag.mcap").write_bytes(b"hello")
    with pytest.raises(BagError, match=r"bag\.mcap"):
        inspect_bag(tmp_path / "bag.mcap")


def test_a_bag_that_was_cut_off(drive, tmp_path):
    data = (drive / "drive.mcap").read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(data[: int(len(data) * 0.7)])
    result = inspect_bag(path)
    assert "cut.mcap: cut off; readable are" in said(result, "warning")
    assert 20 < result.messages < 81
    assert result.lookup.share == 1.0


def test_a_bag_that_breaks_in_the_middle(drive, tmp_path):
    data = bytearray((drive / "drive.mcap").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path = tmp_path / "broken.mcap"
    path.write_bytes(data)
    result = inspect_bag(path)
    assert "cannot be read after bag time" in said(result, "warning")
    assert result.topics[0].timing.read > 0


def test_a_gap_a_duplicate_and_a_step_back(recorder):
    recorder.extrinsics()
    for index in (0, 1, 2, 3, 7, 8, 9):
        recorder.moment(index)
    recorder.image(10, stamp_ns=recorder.frames[9].stamp_ns)
    recorder.image(11, stamp_ns=recorder.frames[8].stamp_ns)
    text = said(inspected(recorder), "warning")
    assert f"{IMAGE}: 1 gaps, the longest 0.40 s at 0.3 s" in text
    assert f"{IMAGE}: 1 stamps come twice" in text
    assert f"{IMAGE}: stamps go back 1 times" in text


def test_a_clock_that_was_set(recorder):
    recorder.extrinsics()

    def moment(index: int) -> None:
        recorder.moment(index) if index < 3 else recorder.image(
            index, stamp_ns=recorder.frames[index].stamp_ns + 10**12
        )

    assert "the sensor's clock and the recorder's jump apart at 0.3 s" in said(record(recorder, 6, moment), "warning")


def test_tf_with_a_loop_two_parents_and_a_static_that_changes(recorder):
    recorder.extrinsics()
    recorder.static("map", "velodyne")
    recorder.static("odom", "velodyne")
    recorder.static("odom", "wheel")
    recorder.static("odom", "wheel", make_transform(np.eye(3), [0.1, 0, 0]))
    recorder.static("a", "b")
    recorder.static("b", "a")
    result = record(recorder)
    assert "tf has a loop: b -> a -> b" in said(result, "problem")
    assert "tf gives velodyne several parents: map, odom" in said(result, "warning")
    assert "the static transform odom -> wheel changes" in said(result, "warning")


def test_moving_tf_that_stops(recorder):
    """The camera turns on a mast; its tf ends before the images do."""
    frames = recorder.frames
    recorder.static("velodyne", "base")
    for index in range(12):
        recorder.moment(index)
        if index < 6:
            pose = invert_transform(frames[0].cam_T_lidar)
            message = BUILDER.transform(pose, "base", "camera_optical", frames[index].stamp_ns)
            recorder.write("/tf", message, frames[index].stamp_ns)
    result = inspected(recorder)
    assert result.lookup.share == pytest.approx(8 / 12)
    assert result.lookup.first_missing_s == pytest.approx(0.8)
    assert "no transform from velodyne to camera_optical for 33.3% of the images, first at 0.8 s" in said(
        result, "warning"
    )
    assert result.share_in_view > 0.5


def test_camera_info_that_does_not_fit(recorder):
    recorder.extrinsics()

    def moment(index: int) -> None:
        recorder.image(index)
        recorder.info(index, frame_id="other", width=640, height=200)
        recorder.points(index)

    result = record(recorder, moment=moment)
    assert "the image is 480 x 160 px, but its CameraInfo is for 640 x 200 px" in said(result, "problem")
    assert "frame_id of images is 'camera_optical', of CameraInfo 'other'" in said(result, "warning")


def test_images_that_cannot_be_decoded(recorder):
    recorder.extrinsics()

    def moment(index: int) -> None:
        recorder.moment(index)
        if index == 1:
            image = BUILDER.image(np.zeros((4, 4, 3), np.uint8), recorder.frames[index].stamp_ns + 1, "camera_optical")
            image.encoding = "nv21"
            recorder.write(IMAGE, image, recorder.frames[index].stamp_ns + 1)

    result = record(recorder, moment=moment)
    assert "unknown encoding 'nv21'" in said(result, "warning")
    assert result.images_sampled == 4


def test_clouds_far_from_the_images(recorder):
    recorder.extrinsics()

    def moment(index: int) -> None:
        recorder.image(index)
        recorder.info(index)
        recorder.points(index, stamp_ns=recorder.frames[index].stamp_ns + 3 * 10**9)

    result = record(recorder, moment=moment)
    assert "100% of the images have no cloud within 60 ms" in said(result, "problem")


def test_a_large_bag_is_read_in_spans(drive, monkeypatch):
    monkeypatch.setattr(scan, "MAX_BYTES", 500_000)
    monkeypatch.setattr(scan, "SPANS", 3)
    reader = BagReader(drive, strict=False)
    found = scan.scan_bag(reader)
    assert 0.2 < found.share_read < 0.5
    assert sum(map(len, found.stamps.values())) < 60
    assert not any(timing(log, True, found.start_ns).gaps for log in found.stamps.values())
    monkeypatch.setattr(scan, "MARGIN_NS", 50_000_000)
    images = found.stamps["/camera/image_rect/compressed"]
    inner = found.with_surroundings("/camera/image_rect/compressed")
    assert 0 < len(inner) < len(images)
    assert set(inner) < set(images.header_ns)
    whole = scan.scan_bag(reader, read_all=True)
    assert (whole.share_read, len(whole.with_surroundings("/lidar/points"))) == (1.0, 20)


def test_planted_errors_in_a_bag_are_found_and_drawn(drive, plant):
    result = inspect_bag(plant(drive, degrees_xyz=(0.0, 1.0, 0.0), late_ms=100.0))
    assert result.alignment.verdict == BOTH
    np.testing.assert_allclose(result.alignment.correction_deg, [0, -1, 0], atol=0.2)
    assert result.alignment.shift_ms.value == pytest.approx(100, abs=15)
    assert result.verdict == POOR
    true = nominal_cam_T_lidar()
    assert turn_deg(np.array(result.corrected_cam_T_cloud), true) < 0.2
    assert draw_inspection(result).shape == (2 * (28 + 414), 1242, 3)


def test_a_real_recording_agrees(data_dir):
    result = inspect_bag(data_dir / "bags" / "kitti_0005")
    assert result.alignment.verdict == AGREES
    assert result.verdict == READY
    clip = inspect_bag(data_dir / "bags" / "kitti_0005_clip_sqlite3")
    assert clip.alignment.verdict == CANNOT_TELL
    assert clip.verdict == READY


def test_a_degree_and_100_ms_planted_into_a_real_recording_are_found(data_dir, plant):
    result = inspect_bag(plant(data_dir / "bags" / "kitti_0013_first", degrees_xyz=(0.0, 1.0, 0.0), late_ms=100.0))
    assert result.alignment.verdict == BOTH
    assert result.alignment.correction_deg[1] == pytest.approx(-1.0, abs=0.3)
    assert result.alignment.shift_ms.value == pytest.approx(90, abs=15)  # KITTI's clouds are stamped 10 ms early
    assert result.alignment.improved_share > 0.9
