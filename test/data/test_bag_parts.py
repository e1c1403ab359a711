"""Parts of a bag are the whole in pieces; and where clouds go when poses, odometry or a calibration file say so."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from monotakd_ros.data.bag_writer import BagFile
from monotakd_ros.data.kitti_text import calibration_text
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.rosbag import BagPart, BagSource
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import BagError, CalibrationError
from monotakd_ros.geometry.transforms import invert_transform, make_transform, rotation_about_z, transform_points

BUILDER = MessageBuilder(bag_message_types())


def same(a, b) -> None:
    assert (a.name, a.stamp_ns, a.points_stamp_ns) == (b.name, b.stamp_ns, b.points_stamp_ns)
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.points_lidar, b.points_lidar)
    np.testing.assert_array_equal(a.world_T_lidar, b.world_T_lidar)
    np.testing.assert_array_equal(a.labels.boxes_lidar, b.labels.boxes_lidar)


@pytest.mark.parametrize("cuts", [(0, 7), (0, 1, 7), (0, 3, 5, 7), (0, 1, 2, 3, 4, 5, 6, 7)])
def test_parts_give_the_frames_of_the_whole(write_frames, make_frame, cuts):
    path = write_frames([make_frame(index) for index in range(7)])
    whole = BagSource(path)
    times = whole.image_times()
    assert times.broken is None
    stamps = [*times.log_stamps_ns.tolist(), times.log_stamps_ns[-1] + 1]
    frames = []
    for first, after in itertools.pairwise(cuts):
        part = BagSource(path, part=BagPart(stamps[first], stamps[after], first, after - first))
        assert len(part) == after - first
        frames += part.frames()
    expected = list(whole.frames())
    assert len(frames) == len(expected) == 7
    for frame, other in zip(frames, expected):
        same(frame, other)


def test_names_of_a_part_count_from_the_bags_start(tmp_path, make_frame):
    """A bag that does not name its frames."""
    bag = BagFile(tmp_path / "bag")
    for index in range(3):
        frame = make_frame(index)
        bag.write("/image", BUILDER.image(frame.image, frame.stamp_ns, "cam"), frame.stamp_ns)
        bag.write("/camera_info", BUILDER.camera_info(frame.camera, frame.stamp_ns, "cam"), frame.stamp_ns)
    bag.close()
    stamps = BagSource(tmp_path / "bag").image_times().log_stamps_ns
    part = BagSource(tmp_path / "bag", part=BagPart(stamps[1], stamps[2] + 1, 1, 2))
    assert [frame.name for frame in part.frames()] == ["000001", "000002"]


def test_times_of_a_bag_that_was_cut_off(write_frames, make_frame):
    path = write_frames([make_frame(index) for index in range(40)], image_encoding="raw")
    (storage,) = path.glob("*.mcap")
    source = BagSource(path)
    data = bytearray(storage.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    storage.write_bytes(data)
    times = source.image_times()
    assert times.broken is not None
    assert len(times.log_stamps_ns) < 40


def moving_bag(folder, make_frame, odometry: bool = False):
    """One image 50 ms after its cloud, on a way of 10 m/s that turns; the pose as tf or odometry at 20 Hz."""
    frame = make_frame(0)
    bag = BagFile(folder)
    bag.write("/tf_static", BUILDER.transform(invert_transform(frame.cam_T_lidar), "lidar", "cam", 1), frame.stamp_ns)
    poses = {}
    for step in range(-4, 5):
        stamp_ns = frame.stamp_ns + step * 50_000_000
        poses[step] = make_transform(rotation_about_z(0.02 * step), [0.5 * step, 0.1, 0.0])
        transform = BUILDER.transform(poses[step], "odom", "lidar", stamp_ns)
        if odometry:
            moved = transform.transforms[0].transform
            types = bag_message_types()
            position = types("geometry_msgs/msg/Point")(
                x=moved.translation.x, y=moved.translation.y, z=moved.translation.z
            )
            pose = types("geometry_msgs/msg/Pose")(position=position, orientation=moved.rotation)
            message = types("nav_msgs/msg/Odometry")(
                header=transform.transforms[0].header,
                child_frame_id="lidar",
                pose=types("geometry_msgs/msg/PoseWithCovariance")(pose=pose),
            )
            bag.write("/odometry", message, stamp_ns)
        else:
            bag.write("/tf", transform, stamp_ns)
    bag.write("/camera_info", BUILDER.camera_info(frame.camera, frame.stamp_ns, "cam"), frame.stamp_ns)
    cloud_ns = frame.stamp_ns - 50_000_000
    bag.write("/points", BUILDER.point_cloud(frame.points_lidar, cloud_ns, "lidar"), cloud_ns)
    bag.write("/image", BUILDER.image(frame.image, frame.stamp_ns, "cam"), frame.stamp_ns)
    bag.close()
    return frame, invert_transform(poses[0]) @ poses[-1]


@pytest.mark.parametrize("odometry", [False, True])
def test_motion_is_compensated(tmp_path, make_frame, odometry):
    frame, now_T_then = moving_bag(tmp_path / "bag", make_frame, odometry)
    (plain,) = BagSource(tmp_path / "bag").frames()
    np.testing.assert_array_equal(plain.points_lidar, frame.points_lidar)
    (moved,) = BagSource(tmp_path / "bag", SourceOptions(compensate_motion=True)).frames()
    expected = transform_points(now_T_then, frame.points_lidar[:, :3])
    np.testing.assert_allclose(moved.points_lidar[:, :3], expected, atol=1e-4)
    assert np.abs(moved.points_lidar - plain.points_lidar).max() > 0.4
    np.testing.assert_array_equal(moved.points_lidar[:, 3], frame.points_lidar[:, 3])
    assert moved.points_stamp_ns == frame.stamp_ns - 50_000_000


def test_without_a_pose_clouds_stay(write_frames, make_frame, caplog):
    path = write_frames([make_frame(0, world_T_lidar=None)])
    (frame,) = BagSource(path, SourceOptions(compensate_motion=True)).frames()
    np.testing.assert_array_equal(frame.points_lidar, make_frame(0).points_lidar)
    assert "not motion-compensated" in caplog.text


def test_a_calibration_file_counts_instead_of_tf(write_frames, make_frame, tmp_path):
    path = write_frames([make_frame(0)])
    turned = make_transform(rotation_about_z(0.1), [0.1, 0.2, 0.3]) @ make_frame(0).cam_T_lidar
    (tmp_path / "calib.txt").write_text(calibration_text(make_frame(0).camera.img_P_cam, turned))
    (frame,) = BagSource(path, SourceOptions(calibration=tmp_path / "calib.txt")).frames()
    np.testing.assert_allclose(frame.cam_T_lidar, turned, atol=1e-12)


def test_a_calibration_file_without_the_lidar(write_frames, make_frame, tmp_path):
    path = write_frames([make_frame(0)])
    (tmp_path / "calib.txt").write_text(calibration_text(make_frame(0).camera.img_P_cam, None))
    with pytest.raises(CalibrationError, match="Tr_velo_to_cam"):
        list(BagSource(path, SourceOptions(calibration=tmp_path / "calib.txt")).frames())


def test_an_odometry_topic_that_is_not_there(write_frames, make_frame):
    path = write_frames([make_frame(0)])
    with pytest.raises(BagError, match="/nowhere"):
        BagSource(path, SourceOptions(odometry_topic="/nowhere"))
