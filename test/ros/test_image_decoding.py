"""cv_bridge and our decoder give the same pixels; damage is refused by both."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
import pytest

from monotakd_ros.data.from_msg import image_from_msg
from monotakd_ros.data.image_codec import SUPPORTED_ENCODINGS
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import FrameError, MissingDependencyError
from monotakd_ros.ros.image_decoding import BRIDGED, image_decoder

BYTES = {"mono8": 1, "8UC1": 1, "mono16": 2, "16UC1": 2, "yuv422": 2, "uyvy": 2, "yuv422_yuy2": 2, "yuyv": 2}
BYTES |= {"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "8UC4": 4}


@pytest.fixture
def bridge() -> Any:
    pytest.importorskip("cv_bridge", reason="needs cv_bridge: a full ROS 2")
    name, decode = image_decoder("cv_bridge")
    assert name == "cv_bridge"
    return decode


@pytest.fixture
def messages() -> MessageBuilder:
    """Of rclpy where it is, since cv_bridge takes no other."""
    try:
        import sensor_msgs.msg  # noqa: F401
    except ImportError:
        return MessageBuilder(bag_message_types())
    from monotakd_ros.ros.optional import ros_message_types

    return MessageBuilder(ros_message_types)


def raw(messages: MessageBuilder, encoding: str, padding: int = 0) -> Any:
    """A noise image of 6 x 8 px."""
    step = 8 * BYTES.get(encoding, 2 if encoding.endswith("16") else 1) + padding
    message = messages.image(np.zeros((6, 8, 3), np.uint8), 0, "camera")
    message.encoding, message.step = encoding, step
    noise = np.random.default_rng(len(encoding)).integers(0, 256, 6 * step, dtype=np.uint8)
    message.data = type(message.data)("B", noise.tobytes()) if hasattr(message.data, "typecode") else noise
    return message


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_raw_images_are_the_same(bridge: Any, messages: MessageBuilder, encoding: str, padding: int) -> None:
    message = raw(messages, encoding, padding * BYTES.get(encoding, 2))
    decoded = bridge(message, "here")
    np.testing.assert_array_equal(decoded, image_from_msg(message, "here"))
    assert decoded.shape == (6, 8, 3) and decoded.dtype == np.uint8


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_compressed_images_are_the_same(bridge: Any, messages: MessageBuilder, picture: Any, kind: str) -> None:
    message = messages.compressed_image(cv2.GaussianBlur(picture(0), (9, 9), 0), kind, 0, "camera")
    np.testing.assert_array_equal(bridge(message, "here"), image_from_msg(message, "here"))


@pytest.mark.parametrize(
    ("pixels", "format_text"),
    [
        (np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300, "mono16; png compressed "),
        (np.arange(48, dtype=np.uint8).reshape(6, 8), "mono8; png compressed mono8"),
        (np.arange(192, dtype=np.uint8).reshape(6, 8, 4), "rgba8; png compressed bgra8"),
    ],
)
def test_compressed_grey_and_transparent_images_are_the_same(
    bridge: Any, messages: MessageBuilder, picture: Any, pixels: np.ndarray, format_text: str
) -> None:
    message = messages.compressed_image(picture(0), "png", 0, "camera")
    message.format = format_text
    message.data = type(message.data)("B", cv2.imencode(".png", pixels)[1].tobytes())
    decoded = bridge(message, "here")
    np.testing.assert_array_equal(decoded, image_from_msg(message, "here"))
    assert decoded.shape == (6, 8, 3) and decoded.dtype == np.uint8


def test_damage_is_refused_alike(bridge: Any, messages: MessageBuilder, picture: Any) -> None:
    short = raw(messages, "rgb8")
    short.data = short.data[:20]
    cut = messages.compressed_image(picture(0), "jpeg", 0, "camera")
    cut.data = cut.data[:200]
    unknown = raw(messages, "rgb8")
    unknown.encoding = "hologram"
    empty = raw(messages, "rgb8")
    empty.height = empty.width = 0
    for message in (short, cut, unknown, empty):
        reasons = []
        for decode in (bridge, image_from_msg):
            with pytest.raises(FrameError) as caught:
                decode(message, "front/image")
            reasons.append(str(caught.value))
        assert reasons[0] == reasons[1]
        assert reasons[0].startswith("front/image: ")


def test_the_encodings_of_cv_bridge_are_ours_too() -> None:
    assert set(SUPPORTED_ENCODINGS) >= BRIDGED


def test_without_cv_bridge_our_decoder_works(monkeypatch: pytest.MonkeyPatch, messages: MessageBuilder) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    name, decode = image_decoder("auto")
    assert name == "builtin"
    assert decode(raw(messages, "bgr8"), "here").shape == (6, 8, 3)
    with pytest.raises(MissingDependencyError, match="image_decoder:=builtin"):
        image_decoder("cv_bridge")


def test_a_cv_bridge_that_does_not_work_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def cv2_to_imgmsg(self, image: np.ndarray, encoding: str) -> None:
            raise KeyError(16)

        def imgmsg_to_cv2(self, message: object, encoding: str) -> None:
            raise AssertionError("not reached")

    module = type("module", (), {"CvBridge": Broken})
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    assert image_decoder("auto")[0] == "builtin"
    with pytest.raises(MissingDependencyError, match="KeyError"):
        image_decoder("cv_bridge")
