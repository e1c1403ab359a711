"""Images and clouds that belong together, and what a frame of both is. Needs no ROS, takes message_filters if there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monotakd_ros.data.bag_geometry import VIRTUAL_LIDAR_FRAME
from monotakd_ros.data.from_msg import image_from_msg
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar, transform_points
from monotakd_ros.ros.live_frames import LiveFrames
from monotakd_ros.ros.paired_frames import PairedFrames
from monotakd_ros.ros.pairing import NearestPairing, SynchronizedPairing

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000


def message(milliseconds: int) -> Any:
    stamp_ns = START_NS + milliseconds * MS
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), ms=milliseconds)


def nearest(pairs: list, jumps: list | None = None) -> NearestPairing:
    on_jump = (lambda: None) if jumps is None else (lambda: jumps.append(len(pairs)))
    return NearestPairing(lambda image, cloud: pairs.append((image.ms, cloud.ms)), 0.06, on_jump)


def test_an_image_waits_for_the_cloud_behind_it() -> None:
    pairs: list[tuple[int, int]] = []
    pairing = nearest(pairs)
    pairing.add_cloud(message(0))
    pairing.add_image(message(40))
    assert pairs == []
    pairing.add_cloud(message(50))
    assert pairs == [(40, 50)]


def test_an_image_without_a_cloud_is_no_pair() -> None:
    pairs: list[tuple[int, int]] = []
    pairing = nearest(pairs)
    for milliseconds in range(0, 1000, 100):
        pairing.add_image(message(milliseconds))
    assert pairs == []
    pairing.add_cloud(message(1000))
    assert pairs == []
    pairing.add_image(message(1010))
    pairing.add_cloud(message(1100))
    assert pairs == [(1010, 1000)]


def test_a_bag_may_begin_anew() -> None:
    pairs: list[tuple[int, int]] = []
    jumps: list[int] = []
    pairing = nearest(pairs, jumps)
    for milliseconds in (9000, 9100, 0, 100):
        pairing.add_image(message(milliseconds))
        pairing.add_cloud(message(milliseconds))
    assert pairs == [(9000, 9000), (9100, 9100), (0, 0), (100, 100)]
    assert jumps == [2]


def test_message_filters_pairs_across_a_jump() -> None:
    filters = pytest.importorskip("message_filters", reason="needs a full ROS 2")
    messages = pytest.importorskip("sensor_msgs.msg")
    pairs: list[tuple[int, int]] = []

    def stamped(kind: Any, milliseconds: int) -> Any:
        made = kind()
        stamp_ns = START_NS + milliseconds * MS
        made.header.stamp.sec, made.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        return made

    def ms_of(made: Any) -> int:
        return (made.header.stamp.sec * 10**9 + made.header.stamp.nanosec - START_NS) // MS

    def on_pair(image: Any, cloud: Any) -> None:
        pairs.append((ms_of(image), ms_of(cloud)))

    pairing = SynchronizedPairing(filters, on_pair, 0.06, lambda: None)
    for milliseconds in (*range(5000, 7000, 100), *range(0, 1000, 100)):
        pairing.add_image(stamped(messages.Image, milliseconds))
        pairing.add_cloud(stamped(messages.PointCloud2, milliseconds + 10))
    assert pairs == [(item, item + 10) for item in (*range(5000, 7000, 100), *range(0, 1000, 100))]


class Tf:
    """tf by hand: poses by frames; counts how often it was asked."""

    def __init__(self, **poses: np.ndarray) -> None:
        self.poses, self.asked = poses, 0

    def __call__(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        self.asked += 1
        if f"{target}_T_{source}" not in self.poses:
            raise CalibrationError(f"no tf from {source} to {target}")
        return self.poses[f"{target}_T_{source}"]


@pytest.fixture
def paired(make_frame):
    """Makes the frame that comes of the messages of a recorded one."""
    build = MessageBuilder(bag_message_types())

    def make(tf: Tf, calibrated: np.ndarray | None = None, index: int = 0, frames: Any = None, cloud_frame="lidar"):
        recorded = make_frame(index)
        where = (recorded.stamp_ns, recorded.camera_frame_id)
        if frames is None:
            images = LiveFrames("/image", False, "auto", image_from_msg)
            frames = PairedFrames(images, "/points", tf, calibrated, "odom")
            images.take_camera_info(build.camera_info(recorded.camera, *where))
        cloud = build.point_cloud(recorded.points_lidar, recorded.points_stamp_ns, cloud_frame)
        return recorded, frames.frame(build.image(recorded.image, *where), cloud), frames

    return make


def test_a_pair_is_the_recorded_frame(paired, make_frame) -> None:
    pose = make_frame(3).world_T_lidar
    recorded, frame, frames = paired(Tf(camera_T_lidar=nominal_cam_T_lidar(), odom_T_lidar=pose), index=3)
    np.testing.assert_array_equal(frame.image, recorded.image)
    np.testing.assert_array_equal(frame.points_lidar, recorded.points_lidar)
    np.testing.assert_array_equal(frame.camera.img_P_cam, recorded.camera.img_P_cam)
    np.testing.assert_array_equal(frame.cam_T_lidar, recorded.cam_T_lidar)
    np.testing.assert_array_equal(frame.world_T_lidar, pose)
    assert (frame.stamp_ns, frame.points_stamp_ns) == (recorded.stamp_ns, recorded.points_stamp_ns)
    assert (frame.camera_frame_id, frame.lidar_frame_id) == ("camera", "lidar") and frames.has_world


def test_where_the_lidar_is_has_to_be_known(paired) -> None:
    with pytest.raises(CalibrationError, match="no tf from lidar to camera"):
        paired(Tf())
    _, frame, frames = paired(Tf(), calibrated=nominal_cam_T_lidar())
    assert frame.world_T_lidar is None and not frames.has_world
    with pytest.raises(FrameError, match="frame_id"):
        paired(Tf(), cloud_frame="")


def test_a_missing_world_is_not_waited_for_every_time(paired, make_frame) -> None:
    tf = Tf(camera_T_lidar=nominal_cam_T_lidar())
    _, _, frames = paired(tf)
    assert tf.asked == 2
    paired(tf, index=1, frames=frames)
    assert tf.asked == 3  # for the LiDAR alone
    tf.poses["odom_T_lidar"] = np.eye(4)
    _, frame, _ = paired(tf, index=60, frames=frames)  # 6 s later
    assert frame.world_T_lidar is not None


def test_a_cloud_in_optical_axes_moves_to_an_upright_frame(paired) -> None:
    recorded, frame, _ = paired(Tf(camera_T_depth=np.eye(4), odom_T_depth=np.eye(4)), cloud_frame="depth")
    assert frame.lidar_frame_id == VIRTUAL_LIDAR_FRAME
    back = transform_points(frame.cam_T_lidar, frame.points_lidar[:, :3].astype(np.float64))
    np.testing.assert_allclose(back, recorded.points_lidar[:, :3], atol=1e-5)
