"""Bags as people record them: topics, times, calibration that changes, and every way in which a bag can be broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from monotakd_ros.data.bag_windows import MAX_WAITING, Window
from monotakd_ros.data.bag_writer import BagFile
from monotakd_ros.data.kitti_text import calibration_text
from monotakd_ros.data.message_types import bag_message_types, bag_typestore
from monotakd_ros.data.rosbag import BagSource
from monotakd_ros.data.source import SourceOptions, open_source
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import BagError, CalibrationError, FrameError, SourceError
from monotakd_ros.geometry.transforms import invert_transform, transform_points

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
IMAGE, INFO, POINTS = "/cam/image_raw", "/cam/camera_info", "/velodyne_points"
BUILDER = MessageBuilder(bag_message_types())


class Recording:
    """Writes single messages into a bag, MCAP by default."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bag = BagFile(folder)

    def image(self, frame, topic=IMAGE, **changes):
        message = BUILDER.image(frame.image, frame.stamp_ns, "camera_optical")
        self.write(topic, message, frame.stamp_ns, **changes)

    def info(self, frame, topic=INFO, **changes):
        self.write(
            topic, BUILDER.camera_info(frame.camera, frame.stamp_ns, "camera_optical"), frame.stamp_ns, **changes
        )

    def points(self, frame, topic=POINTS, stamp_ns=None):
        stamp_ns = frame.stamp_ns if stamp_ns is None else stamp_ns
        self.write(topic, BUILDER.point_cloud(frame.points_lidar, stamp_ns, "velodyne"), stamp_ns)

    def extrinsics(self, frame):
        pose = invert_transform(frame.cam_T_lidar)
        message = BUILDER.transform(pose, "velodyne", "camera_optical", frame.stamp_ns)
        self.write("/tf_static", message, frame.stamp_ns)

    def write(self, topic, message, stamp_ns, **changes):
        for key, value in changes.items():
            setattr(message, key, value)
        self.bag.write(topic, message, stamp_ns)

    def done(self) -> Path:
        self.bag.close()
        return self.folder


@pytest.fixture
def recording(tmp_path) -> Recording:
    return Recording(tmp_path / "drive")


@pytest.fixture
def record(recording, make_frame) -> Callable[..., Path]:
    """A usual bag of `count` frames, after which `change(recording, frame)` may replace a frame's messages."""

    def make(count: int = 3, change: Callable[[Recording, object], bool] | None = None) -> Path:
        recording.extrinsics(make_frame(0))
        for index in range(count):
            frame = make_frame(index)
            if change is None or not change(recording, frame):
                recording.image(frame)
                recording.info(frame)
                recording.points(frame, stamp_ns=frame.stamp_ns - 20_000_000)
        return recording.done()

    return make


def frames_of(path, **options):
    return list(BagSource(path, SourceOptions(**options)).frames())


def test_a_usual_bag(record, make_frame):
    source = open_source(record(3))
    assert isinstance(source, BagSource)
    assert len(source) == 3
    frames = list(source.frames())
    assert [frame.name for frame in frames] == ["000000", "000001", "000002"]
    for index, frame in enumerate(frames):
        expected = make_frame(index)
        np.testing.assert_array_equal(frame.image, expected.image)
        np.testing.assert_array_equal(frame.camera.img_P_cam, expected.camera.img_P_cam)
        np.testing.assert_allclose(frame.cam_T_lidar, expected.cam_T_lidar, atol=1e-6)
        np.testing.assert_array_equal(frame.points_lidar, expected.points_lidar)
        assert frame.points_stamp_ns == frame.stamp_ns - 20_000_000
        assert (frame.camera_frame_id, frame.lidar_frame_id) == ("camera_optical", "velodyne")
        assert frame.labels is None
    assert [frame.name for frame in source.frames()] == [frame.name for frame in frames]


def test_bare_files_need_no_metadata(record):
    folder = record(2)
    assert len(frames_of(folder / "drive.mcap")) == 2
    (folder / "metadata.yaml").unlink()
    assert len(frames_of(folder)) == 2


def test_storage_without_type_definitions(tmp_path, make_frame):
    """Before Iron, sqlite3 bags carried no message definitions."""
    frame, store = make_frame(0), bag_typestore()
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for topic, message in (
            (IMAGE, BUILDER.image(frame.image, frame.stamp_ns, "c")),
            (INFO, BUILDER.camera_info(frame.camera, frame.stamp_ns, "c")),
        ):
            connection = writer.add_connection(topic, message.__msgtype__, msgdef="", rihs01="RIHS01_0")
            writer.write(connection, frame.stamp_ns, store.serialize_cdr(message, message.__msgtype__))
    assert len(frames_of(tmp_path / "bag")) == 1


def test_rosbag1(tmp_path, make_frame):
    store = get_typestore(Stores.ROS1_NOETIC)
    types, frame = store.types, make_frame(0)
    stamp = types["builtin_interfaces/msg/Time"](frame.stamp_ns // 10**9, frame.stamp_ns % 10**9)
    header = types["std_msgs/msg/Header"](0, stamp, "/camera")
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    P = frame.camera.img_P_cam
    matrices = (np.zeros(5), P[:, :3].ravel(), np.eye(3).ravel(), P.ravel())
    messages = {
        IMAGE: types["sensor_msgs/msg/Image"](header, 48, 64, "rgb8", 0, 192, frame.image.ravel()),
        INFO: types["sensor_msgs/msg/CameraInfo"](header, 48, 64, "plumb_bob", *matrices, 0, 0, region),
    }
    path = tmp_path / "drive.bag"
    with Writer1(path) as writer:
        for topic, message in messages.items():
            connection = writer.add_connection(topic, message.__msgtype__, typestore=store)
            writer.write(connection, frame.stamp_ns, store.serialize_ros1(message, message.__msgtype__))
    (got,) = frames_of(path)
    np.testing.assert_array_equal(got.image, frame.image)
    np.testing.assert_array_equal(got.camera.img_P_cam, P)
    assert got.stamp_ns == frame.stamp_ns
    assert got.camera_frame_id == "camera"


class TestTopics:
    def test_no_camera(self, recording, make_frame):
        recording.points(make_frame(0))
        with pytest.raises(BagError, match=r"no camera topic.*/velodyne_points \(sensor_msgs/msg/PointCloud2\)"):
            BagSource(recording.done())

    def test_several_cameras(self, recording, make_frame):
        for side in ("left", "right"):
            recording.image(make_frame(0), f"/{side}/image_raw")
            recording.info(make_frame(0), f"/{side}/camera_info")
        path = recording.done()
        with pytest.raises(BagError, match="--image-topic: /left/image_raw, /right/image_raw"):
            BagSource(path)
        source = BagSource(path, SourceOptions(image_topic="/right/image_raw"))
        assert source.topics.camera_info == "/right/camera_info"
        with pytest.raises(BagError, match=r"no image topic '/up/image_raw'.*/left/image_raw"):
            BagSource(path, SourceOptions(image_topic="/up/image_raw"))

    def test_raw_and_compressed_twins_are_one_camera(self, recording, make_frame):
        frame = make_frame(0)
        recording.image(frame)
        recording.info(frame)
        twin = BUILDER.compressed_image(frame.image, "jpeg", frame.stamp_ns, "camera_optical")
        recording.write(f"{IMAGE}/compressed", twin, frame.stamp_ns)
        path = recording.done()
        assert BagSource(path).topics.image.name == IMAGE
        chosen = BagSource(path, SourceOptions(image_topic=f"{IMAGE}/compressed"))
        assert chosen.topics.camera_info == INFO
        assert len(list(chosen.frames())) == 1

    def test_no_camera_info(self, recording, make_frame):
        recording.image(make_frame(0))
        with pytest.raises(BagError, match=rf"no CameraInfo: expected {INFO}"):
            BagSource(recording.done())

    def test_camera_info_elsewhere(self, recording, make_frame):
        recording.image(make_frame(0))
        recording.info(make_frame(0), "/calibration")
        path = recording.done()
        assert BagSource(path).topics.camera_info == "/calibration"

    def test_several_clouds(self, record):
        path = record(2, lambda recording, frame: recording.points(frame, "/radar"))
        with pytest.raises(BagError, match=r"--points-topic.*: /radar, /velodyne_points"):
            BagSource(path)
        assert frames_of(path, points_topic=POINTS)[0].points_lidar is not None
        assert frames_of(path, points_topic="none")[0].points_lidar is None

    def test_unknown_types_are_passed_over(self, record):
        def add(recording, frame):
            recording.write("/imu", BUILDER.make("sensor_msgs/msg/Imu"), frame.stamp_ns)

        assert len(frames_of(record(2, add))) == 2


class TestTime:
    def test_nearest_cloud_within_tolerance(self, record):
        def change(recording, frame):
            recording.image(frame)
            recording.info(frame)
            if frame.name == "000000":
                recording.points(frame, stamp_ns=frame.stamp_ns + 61_000_000)
            return True

        path = record(2, change)
        assert [frame.points_stamp_ns for frame in frames_of(path)] == [None, START_STAMP + 61_000_000]
        assert frames_of(path, cloud_tolerance_s=0.07)[0].points_lidar is not None

    def test_late_camera_info_and_header_stamps_count(self, recording, make_frame):
        """The recorder's clock lags and CameraInfo comes once, after the images."""
        for index in range(3):
            frame = make_frame(index)
            message = BUILDER.image(frame.image, frame.stamp_ns, "c")
            recording.bag.write(IMAGE, message, frame.stamp_ns + 5_000_000)
        recording.info(make_frame(0, stamp_ns=make_frame(9).stamp_ns))
        frames = frames_of(recording.done())
        assert [frame.stamp_ns for frame in frames] == [make_frame(index).stamp_ns for index in range(3)]

    def test_shuffled_arrival_comes_out_in_time_order(self, recording, make_frame):
        recording.info(make_frame(0))
        for position, index in enumerate([1, 0, 2]):
            frame = make_frame(index)
            message = BUILDER.image(frame.image, frame.stamp_ns, "c")
            recording.bag.write(IMAGE, message, START_NS + position * 1_000_000)
        stamps = [frame.stamp_ns for frame in frames_of(recording.done())]
        assert stamps == sorted(stamps)

    def test_empty_header_stamp_takes_the_bags_time(self, recording, make_frame):
        recording.info(make_frame(0))
        frame = make_frame(0)
        recording.bag.write(IMAGE, BUILDER.image(frame.image, 0, "c"), frame.stamp_ns)
        assert frames_of(recording.done())[0].stamp_ns == frame.stamp_ns

    def test_windows_are_bounded(self):
        window = Window()
        for stamp_ns in range(1000):
            window.add(stamp_ns, stamp_ns)
        assert window.nearest(0, 10**6) == (1000 - MAX_WAITING, 1000 - MAX_WAITING)
        window.forget_before(999)
        assert window.nearest(0, 10**6) == (999, 999)
        assert window.nearest(0, 10) is None


class TestCalibration:
    def test_camera_info_that_changes_holds_from_its_stamp(self, record, make_frame, caplog):
        def change(recording, frame):
            zoomed = frame.camera.img_P_cam * (1 if frame.name < "000002" else 2)
            recording.info(frame, p=zoomed.ravel())
            recording.image(frame)
            return True

        frames = frames_of(record(4, change))
        assert [frame.camera.fx for frame in frames] == [60.1, 60.1, 120.2, 120.2]
        assert caplog.text.count(f"stamp {make_frame(2).stamp_ns} ns: CameraInfo changes") == 1

    def test_size_mismatch(self, record):
        path = record(2, lambda recording, frame: recording.info(frame, width=100) or recording.image(frame) or True)
        with pytest.raises(FrameError, match="the image is 64 x 48 px, but its CameraInfo is for 100 x 48 px"):
            frames_of(path)
        with pytest.raises(SourceError, match="none of its 2 frames can be used"):
            list(BagSource(path).frames(lambda error: None))

    def test_uncalibrated_camera(self, record):
        path = record(2, lambda r, frame: r.info(frame, k=np.zeros(9)) or r.image(frame) or True)
        with pytest.raises(CalibrationError, match=r"/cam/image_raw.*K\[0\] = 0"):
            list(BagSource(path).frames(lambda error: None))

    @pytest.mark.parametrize(
        ("topic", "rectify", "changed"),
        [
            ("/cam/image_raw", "auto", True),
            ("/cam/image_rect", "auto", False),
            ("/cam/image_rect_color", "auto", False),
            ("/cam/image_raw", "never", False),
            ("/cam/image_rect", "always", True),
        ],
    )
    def test_rectification_rule(self, record, make_frame, topic, rectify, changed):
        distortion = np.array([-0.3, 0.1, 0, 0, 0])
        path = record(1, lambda r, frame: r.info(frame, d=distortion) or r.image(frame, topic) or True)
        (frame,) = frames_of(path, rectify=rectify)
        assert (not np.array_equal(frame.image, make_frame(0).image)) == changed

    def test_without_tf_the_cloud_is_left_out(self, recording, make_frame, caplog):
        frame = make_frame(0)
        recording.image(frame)
        recording.info(frame)
        recording.points(frame)
        (got,) = frames_of(recording.done())
        assert got.cam_T_lidar is None
        assert got.points_lidar is None
        assert "no transform from velodyne to camera_optical" in caplog.text

    def test_cloud_in_optical_axes_gets_a_virtual_lidar(self, recording, make_frame):
        """A depth camera's cloud: z ahead. In the lidar frame that must be x, and the pixels stay where they are."""
        frame = make_frame(0, points_lidar=np.array([[1, -2, 10, 0.5]], np.float32))
        recording.image(frame)
        recording.info(frame)
        cloud = BUILDER.point_cloud(frame.points_lidar, frame.stamp_ns, "camera_optical")
        recording.write(POINTS, cloud, frame.stamp_ns)
        (got,) = frames_of(recording.done())
        assert got.lidar_frame_id == "virtual_lidar"
        np.testing.assert_allclose(got.points_lidar[0], [10.27, -1, 1.92, 0.5], atol=1e-5)
        np.testing.assert_allclose(transform_points(got.cam_T_lidar, got.points_lidar[:, :3]), [[1, -2, 10]], atol=1e-5)

    def test_tf_that_contradicts_our_text_wins(self, write_frames, make_frame, monkeypatch, caplog):
        moved = make_frame(0).cam_T_lidar.copy()
        moved[0, 3] += 1
        text = calibration_text(make_frame(0).camera.img_P_cam, moved)
        monkeypatch.setattr("monotakd_ros.data.frame_text.calibration_text", lambda *_: text)
        (got,) = frames_of(write_frames([make_frame(0)]))
        np.testing.assert_allclose(got.cam_T_lidar, make_frame(0).cam_T_lidar, atol=1e-6)
        assert "tf and text differ about camera and LiDAR; tf is used" in caplog.text


class TestGroundTruth:
    def test_detection_array_in_any_connected_frame(self, record, make_frame):
        labels = make_frame(0).labels

        def add(recording, frame):
            recording.write("/truth", BUILDER.ground_truth(labels, frame.stamp_ns, "velodyne"), frame.stamp_ns)

        for frame in frames_of(record(2, add)):
            assert frame.labels.class_names == labels.class_names
            np.testing.assert_allclose(frame.labels.boxes_lidar[:, :6], labels.boxes_lidar[:, :6], atol=1e-9)
            assert np.isnan(frame.labels.boxes_img_px).all()

    def test_a_label_that_is_no_box_costs_its_frame_all_labels_and_nothing_else(self, record, make_frame, caplog):
        labels = make_frame(0).labels
        broken = labels.boxes_lidar.copy()
        broken[0, 0] = np.nan

        def add(recording, frame):
            here = replace(labels, boxes_lidar=broken) if frame.name == "000001" else labels
            recording.write("/truth", BUILDER.ground_truth(here, frame.stamp_ns, "velodyne"), frame.stamp_ns)

        frames = frames_of(record(3, add))
        assert [frame.labels is not None for frame in frames] == [True, False, True]
        assert frames[1].points_lidar is not None
        assert "topic /truth, stamp" in caplog.text and "expected finite position" in caplog.text

    def test_labels_beside_the_bag(self, record, tmp_path):
        path = record(3)
        (path / "label_2").mkdir()
        (path / "label_2" / "0000000001.txt").write_text("Car 0 0 0 1 2 3 4 1.5 1.6 4 2 1.7 20 -1.57\n")
        frames = frames_of(path)
        assert [frame.labels is not None for frame in frames] == [False, True, False]
        assert [f.labels is not None for f in frames_of(path / "drive.mcap")] == [False, True, False]
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "000002.txt").write_text("")
        other = frames_of(path, label_dir=tmp_path / "other")
        assert [frame.labels is not None for frame in other] == [False, False, True]


class TestBroken:
    def test_corrupt_frame_7_of_20(self, record):
        def damage(recording, frame):
            if frame.name != "000007":
                return False
            recording.image(frame, data=np.zeros(10, np.uint8))
            return True

        path = record(20, damage)
        errors = []
        names = [frame.name for frame in BagSource(path).frames(errors.append)]
        assert names == [f"{index:06d}" for index in range(20) if index != 7]
        assert len(errors) == 1
        assert f"{IMAGE}, stamp {START_STAMP + 7 * PERIOD_NS} ns: expected at least" in str(errors[0])
        with pytest.raises(FrameError):
            frames_of(path)

    def test_unknown_encoding(self, record):
        path = record(2, lambda r, frame: r.image(frame, encoding="nv21") or r.info(frame) or True)
        with pytest.raises(FrameError, match=r"unknown encoding 'nv21'; supported: rgb8"):
            frames_of(path)

    def test_unreadable_camera_info(self, recording, make_frame):
        frame = make_frame(0)
        recording.image(frame)
        recording.bag.add_topic(INFO, "sensor_msgs/msg/CameraInfo")
        recording.bag._writer.write(recording.bag._connections[INFO], frame.stamp_ns, b"\x00\x01\x00\x00oops")
        with pytest.raises(BagError, match="no readable CameraInfo"):
            frames_of(recording.done())

    def test_bytes_that_are_no_message(self, record, recording, make_frame):
        def damage(recording, frame):
            if frame.name != "000001":
                return False
            connection = recording.bag._connections[IMAGE]
            recording.bag._writer.write(connection, frame.stamp_ns, b"\x00\x01\x00\x00oops")
            recording.info(frame)
            return True

        errors = []
        assert len(list(BagSource(record(3, damage)).frames(errors.append))) == 2
        assert "sensor_msgs/msg/Image" in str(errors[0])

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.98])
    def test_truncated_mcap(self, record, share):
        path = record(5) / "drive.mcap"
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        for target in (path, path.parent):
            with pytest.raises(BagError, match=r"drive.*(empty|mcap recover)"):
                BagSource(target)

    def test_bag_that_breaks_in_the_middle(self, record, make_frame):
        folder = record(60)
        path = folder / "drive.mcap"
        data = bytearray(path.read_bytes())
        middle = int(len(data) * 0.75)
        data[middle : middle + 2000] = bytes(2000)
        path.write_bytes(data)
        names = []
        with pytest.raises(BagError, match=r"drive: the bag cannot be read (after bag time|before)"):
            for frame in BagSource(folder).frames():
                names.append(frame.name)
        assert names == [f"{index:06d}" for index in range(len(names))]

    def test_empty_bag(self, tmp_path):
        with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP):
            pass
        with pytest.raises(BagError, match="holds no messages"):
            open_source(tmp_path / "bag")

    @pytest.mark.parametrize("name", ["x.mcap", "x.db3", "x.bag"])
    @pytest.mark.parametrize("content", [b"", b"not a bag at all" * 100])
    def test_no_bag(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BagError, match=name):
            open_source(tmp_path / name)

    @pytest.mark.parametrize("text", ["", "a: [", "rosbag2_bagfile_information: {version: 8}", "7"])
    def test_damaged_metadata(self, record, text):
        folder = record(1)
        (folder / "metadata.yaml").write_text(text)
        with pytest.raises(BagError, match="drive"):
            BagSource(folder)

    def test_metadata_without_its_file(self, record):
        folder = record(1)
        (folder / "drive.mcap").unlink()
        with pytest.raises(BagError, match="missing"):
            BagSource(folder)


START_STAMP = 1_700_000_000_123_456_789
"""Stamp of frame 0 of `make_frame`."""


@pytest.mark.parametrize(("name", "count"), [("kitti_0005_clip_sqlite3", 2), ("kitti_0013_first", 72)])
def test_real_bags(data_dir, name, count):
    source = open_source(data_dir / "bags" / name)
    frames = source.frames()
    frame = next(frames)
    frames.close()
    assert len(source) == count
    assert frame.image.shape == (375, 1242, 3)
    assert frame.camera.img_P_cam[0, 3] == 44.85728
    assert abs(frame.points_stamp_ns - frame.stamp_ns) < 20_000_000
    uv_px, depth = frame.camera.project(
        frame.points_lidar[:, :3] @ frame.cam_T_lidar[:3, :3].T + frame.cam_T_lidar[:3, 3]
    )
    seen = frame.camera.contains(uv_px) & (depth > 0)
    assert seen.sum() > 15_000
    assert (frame.labels is not None) == (name == "kitti_0013_first")
