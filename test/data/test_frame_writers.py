"""What is written comes back unchanged; what fails leaves nothing; Ctrl-C leaves what is whole."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from monotakd_ros.data.bag_writer import BagFrameWriter
from monotakd_ros.data.frame_writers import interrupts_deferred, open_writer
from monotakd_ros.data.kitti_writer import KittiFrameWriter
from monotakd_ros.data.message_types import bag_typestore
from monotakd_ros.data.source import open_source
from monotakd_ros.errors import OutputError
from monotakd_ros.frame import Labels3D


def frames_of(path):
    return list(open_source(path).frames())


def assert_same(got, expected, box_tolerance=1e-6):
    """Bit for bit, but for boxes, which pass through decimal text."""
    for key in ("name", "stamp_ns", "points_stamp_ns", "camera_frame_id", "lidar_frame_id"):
        assert getattr(got, key) == getattr(expected, key), key
    for key in ("image", "points_lidar", "cam_T_lidar", "world_T_lidar"):
        np.testing.assert_array_equal(getattr(got, key), getattr(expected, key), err_msg=key)
    assert got.camera.same_as(expected.camera)
    assert (got.labels is None) == (expected.labels is None)
    if expected.labels is None:
        return
    assert got.labels.class_names == expected.labels.class_names
    assert np.abs(got.labels.boxes_lidar - expected.labels.boxes_lidar).max(initial=0) < box_tolerance
    np.testing.assert_array_equal(got.labels.truncation, expected.labels.truncation)
    np.testing.assert_array_equal(got.labels.occlusion, expected.labels.occlusion)
    np.testing.assert_allclose(got.labels.boxes_img_px, expected.labels.boxes_img_px, atol=1e-6)
    np.testing.assert_allclose(got.labels.dont_care_px, expected.labels.dont_care_px, atol=1e-6)


@pytest.mark.parametrize("format", ["bag", "kitti"])
def test_round_trip(make_frame, write_frames, format):
    frames = [make_frame(index) for index in range(4)]
    for got, expected in zip(frames_of(write_frames(frames, format=format)), frames, strict=True):
        assert_same(got, expected)


def test_bag_to_kitti_to_bag_loses_nothing(make_frame, write_frames):
    frames = [make_frame(index) for index in range(3)]
    kitti = frames_of(write_frames(frames_of(write_frames(frames, "a")), "b", format="kitti"))
    for got, expected in zip(frames_of(write_frames(kitti, "c")), frames, strict=True):
        assert_same(got, expected)


@pytest.mark.parametrize("format", ["bag", "kitti"])
@pytest.mark.parametrize(
    "changes",
    [
        {"labels": None},
        {"labels": Labels3D.empty()},
        {"points_lidar": None, "points_stamp_ns": None},
        {"points_lidar": np.zeros((0, 4), np.float32)},
        {"world_T_lidar": None},
        {"cam_T_lidar": None, "points_lidar": None, "points_stamp_ns": None, "labels": None, "world_T_lidar": None},
    ],
    ids=["unlabelled", "nothing there", "no cloud", "empty cloud", "no pose", "camera only"],
)
def test_what_is_absent_stays_absent(make_frame, write_frames, format, changes):
    expected = make_frame(0, **changes)
    (got,) = frames_of(write_frames([expected], format=format))
    assert_same(got, expected)


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_lossless_image_encodings(make_frame, write_frames, encoding):
    (got,) = frames_of(write_frames([make_frame(0)], image_encoding=encoding))
    np.testing.assert_array_equal(got.image, make_frame(0).image)


def test_jpeg_is_close(make_frame, write_frames):
    v, u = np.mgrid[:48, :64]
    image = np.stack([u, v, u + v], axis=2).astype(np.uint8)
    (got,) = frames_of(write_frames([make_frame(0, image=image)], image_encoding="jpeg"))
    assert np.abs(got.image.astype(int) - image).mean() < 3


def test_extrinsics_that_change_are_kept(make_frame, write_frames):
    other = make_frame(1).cam_T_lidar.copy()
    other[0, 3] += 0.5
    frames = [make_frame(0), make_frame(1, cam_T_lidar=other), make_frame(2)]
    for got, expected in zip(frames_of(write_frames(frames)), frames, strict=True):
        np.testing.assert_array_equal(got.cam_T_lidar, expected.cam_T_lidar)


def test_kitti_names_and_files(make_frame, write_frames):
    frames = [make_frame(0, name="start"), make_frame(1, name="000007"), make_frame(2, name="0000000007")]
    folder = write_frames(frames, format="kitti")
    assert (folder / "ImageSets" / "all.txt").read_text().split() == ["000000", "000007", "000008"]
    names = {str(item.relative_to(folder)) for item in folder.rglob("*") if item.is_file()}
    for kind, suffix in (("image_2", "png"), ("calib", "txt"), ("label_2", "txt"), ("velodyne", "bin")):
        assert f"training/{kind}/000007.{suffix}" in names


def test_bag_layout(make_frame, write_frames):
    folder = write_frames([make_frame(0)])
    assert sorted(item.name for item in folder.iterdir()) == ["metadata.yaml", "recording.mcap"]
    with Reader(folder) as reader:
        types = {connection.topic: connection.msgtype for connection in reader.connections}
        latched = {
            c.topic for c in reader.connections if any(q.durability.value == 1 for q in c.ext.offered_qos_profiles)
        }
        definitions = {connection.msgtype: connection for connection in reader.connections}
    assert types == {
        "/camera/image_rect/compressed": "sensor_msgs/msg/CompressedImage",
        "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
        "/lidar/points": "sensor_msgs/msg/PointCloud2",
        "/tf": "tf2_msgs/msg/TFMessage",
        "/tf_static": "tf2_msgs/msg/TFMessage",
        "/ground_truth": "vision_msgs/msg/Detection3DArray",
        "/ground_truth/kitti": "std_msgs/msg/String",
        "/calibration/kitti": "std_msgs/msg/String",
    }
    assert latched == {"/tf_static"}
    assert "geometry_msgs/PoseWithCovariance" in definitions["vision_msgs/msg/Detection3DArray"].msgdef.data


def test_type_hash_is_the_one_ros_generates():
    """From rosidl's generated vision_msgs 4 sources; a ROS 2 machine compares it."""
    expected = "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    assert bag_typestore().hash_rihs01("vision_msgs/msg/Detection3DArray") == expected


@pytest.mark.parametrize("format", ["bag", "kitti"])
def test_existing_output(make_frame, write_frames, tmp_path, format):
    write_frames([make_frame(0), make_frame(1)], format=format)
    with pytest.raises(OutputError, match="exists already"):
        write_frames([make_frame(0)], format=format)
    assert len(frames_of(tmp_path / "recording")) == 2
    write_frames([make_frame(0)], format=format, overwrite=True)
    assert len(frames_of(tmp_path / "recording")) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["recording"]


def test_overwrite_spares_what_is_not_ours(make_frame, write_frames, tmp_path):
    (tmp_path / "recording").mkdir()
    (tmp_path / "recording" / "thesis.tex").write_text("work of years")
    with pytest.raises(OutputError, match="left alone"):
        write_frames([make_frame(0)], overwrite=True)
    assert (tmp_path / "recording" / "thesis.tex").exists()


@pytest.mark.parametrize("format", ["bag", "kitti"])
def test_failure_leaves_the_old_output_and_nothing_else(make_frame, write_frames, tmp_path, format):
    write_frames([make_frame(0)], format=format)
    with pytest.raises(RuntimeError), open_writer(tmp_path / "recording", format, overwrite=True) as writer:
        writer.write(make_frame(5))
        raise RuntimeError("source broke")
    assert [frame.name for frame in frames_of(tmp_path / "recording")] == ["000000"]
    assert [item.name for item in tmp_path.iterdir()] == ["recording"]


@pytest.mark.parametrize("format", ["bag", "kitti"])
def test_nothing_to_write(tmp_path, format):
    with pytest.raises(OutputError, match="no frames"), open_writer(tmp_path / "out", format):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["bag", "kitti"])
def test_interrupt_keeps_whole_frames(make_frame, tmp_path, format):
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "out", format) as writer:
        writer.write(make_frame(0))
        writer.write(make_frame(1))
        raise KeyboardInterrupt
    assert len(frames_of(tmp_path / "out")) == 2
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_interrupt_before_the_first_frame_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_ctrl_c_waits_for_the_frame():
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
    assert reached


@pytest.mark.parametrize("writer_class", [BagFrameWriter, KittiFrameWriter])
def test_full_disk(make_frame, tmp_path, monkeypatch, writer_class):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_class, "_write", full)
    format = "bag" if writer_class is BagFrameWriter else "kitti"
    with (
        pytest.raises(OutputError, match="out: cannot write: No space left"),
        open_writer(tmp_path / "out", format) as writer,
    ):
        writer.write(make_frame(0))
    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), open_writer(tmp_path / "file" / "out"):
        pass
