"""A live camera's messages as frames: checked against the newest CameraInfo. No ROS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monotakd_ros.data.from_msg import image_from_msg
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.ros.image_topics import image_source
from monotakd_ros.ros.live_frames import LiveFrames

STAMP_NS = 1_700_000_000_000_000_007


@pytest.fixture
def make() -> MessageBuilder:
    return MessageBuilder(bag_message_types())


@pytest.fixture
def frames() -> LiveFrames:
    return LiveFrames("/front/image", already_rectified=False, rectify="auto", decode=image_from_msg)


def nowhere(camera_frame: str, stamp_ns: int) -> None:
    return None


def info(make: MessageBuilder, camera: Any, frame_id: str = "front", **changes: Any) -> Any:
    message = make.camera_info(camera, STAMP_NS, frame_id)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_a_frame_has_what_the_messages_say(make: MessageBuilder, frames: LiveFrames, picture: Any, camera: Any) -> None:
    assert not frames.has_camera_info
    assert not frames.take_camera_info(info(make, camera))
    asked = []

    def mount(camera_frame: str, stamp_ns: int) -> np.ndarray:
        asked.append((camera_frame, stamp_ns))
        return nominal_cam_T_lidar()

    frame = frames.frame(make.image(picture(0), STAMP_NS, "front"), mount)
    np.testing.assert_array_equal(frame.image, picture(0))
    assert (frame.stamp_ns, frame.camera_frame_id) == (STAMP_NS, "front")
    assert frame.camera.same_as(camera)
    assert asked == [("front", STAMP_NS)] and frame.cam_T_lidar is not None


def test_before_camera_info_there_is_no_frame(make: MessageBuilder, frames: LiveFrames, picture: Any) -> None:
    with pytest.raises(FrameError, match="no CameraInfo yet"):
        frames.frame(make.image(picture(0), STAMP_NS, "front"), nowhere)


def test_a_change_of_calibration_is_told_once(make: MessageBuilder, frames: LiveFrames, camera: Any) -> None:
    other = info(make, camera, d=np.array([0.1, 0.0, 0.0, 0.0, 0.0]))
    assert [frames.take_camera_info(item) for item in (info(make, camera), info(make, camera), other, other)] == [
        False,
        False,
        True,
        False,
    ]
    assert frames.take_camera_info(info(make, camera, frame_id="rear"))


def test_distortion_is_taken_out_with_the_newest_calibration(
    make: MessageBuilder, frames: LiveFrames, picture: Any, camera: Any
) -> None:
    frames.take_camera_info(info(make, camera))
    image = make.image(picture(0), STAMP_NS, "front")
    np.testing.assert_array_equal(frames.frame(image, nowhere).image, picture(0))
    frames.take_camera_info(info(make, camera, d=np.array([0.3, 0.0, 0.0, 0.0, 0.0])))
    assert (frames.frame(image, nowhere).image != picture(0)).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_id": "rear"}, "the image is of frame 'front', its CameraInfo of 'rear'"),
        ({"k": np.zeros(9)}, "not calibrated"),
        ({"width": 640, "height": 200}, "128 x 64 px, but its CameraInfo is for 640 x 200"),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(
    make: MessageBuilder, frames: LiveFrames, picture: Any, camera: Any, changes: dict[str, Any], message: str
) -> None:
    frames.take_camera_info(info(make, camera, **changes))
    with pytest.raises((CalibrationError, FrameError), match=message):
        frames.frame(make.image(picture(0), STAMP_NS, "front"), nowhere)


def test_a_driver_that_names_no_frames_is_taken_as_it_is(
    make: MessageBuilder, frames: LiveFrames, picture: Any, camera: Any
) -> None:
    frames.take_camera_info(info(make, camera, frame_id=""))
    assert frames.frame(make.image(picture(0), STAMP_NS, "front"), nowhere).camera_frame_id == "front"
    assert frames.frame(make.image(picture(0), STAMP_NS, ""), nowhere).camera_frame_id == "camera"
    frames.take_camera_info(info(make, camera, frame_id="/front"))
    assert frames.frame(make.image(picture(0), STAMP_NS, ""), nowhere).camera_frame_id == "front"


def test_compressed_topics_may_be_named_either_way() -> None:
    raw, compressed = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
    assert image_source("/front/image", "raw") == ("/front/image", raw)
    for topic, transport in (("/front/image", "compressed"), ("/front/image/compressed", "compressed")):
        assert image_source(topic, transport) == ("/front/image/compressed", compressed)
    assert image_source("/front/image/compressed", "raw") == ("/front/image/compressed", compressed)
