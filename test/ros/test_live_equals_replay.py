"""A bag through the live node gives the detections that `monotakd replay` gives, frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from monotakd_ros.data.detections_to_msg import DetectionMessages
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.data.message_types import bag_typestore
from monotakd_ros.data.source import open_source
from monotakd_ros.detector import Detector
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import make_transform, nominal_cam_T_lidar, rotation_about_z
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.replay.run import ReplayOptions, replay

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: `make test-ros`, or a sourced ROS 2")

from rclpy.parameter import Parameter  # noqa: E402
from rclpy.serialization import deserialize_message  # noqa: E402

from monotakd_ros.ros.detector_node import DetectorNode  # noqa: E402
from monotakd_ros.ros.optional import ros_message_types  # noqa: E402
from monotakd_ros.ros.qos import latched  # noqa: E402

COUNT = 6
START_NS = 1_700_000_000_000_000_000


@pytest.fixture
def write_bag(tmp_path: Path, picture: Any, camera: CameraModel) -> Callable[..., Path]:
    """Writes a bag of `COUNT` images; with a LiDAR, on a tilted mount, its extrinsic is in tf."""

    def write(with_lidar: bool) -> Path:
        tilt = make_transform(rotation_about_z(0.03), [0.0, 0.1, 0.0])
        with open_writer(tmp_path / "bag", "bag") as writer:
            for index in range(COUNT):
                frame = Frame("", START_NS + index * 100_000_000, picture(index), camera, "camera_optical")
                if with_lidar:
                    points = np.random.default_rng(index).normal(0, 10, (20, 4)).astype(np.float32)
                    frame = dataclasses.replace(
                        frame,
                        cam_T_lidar=tilt @ nominal_cam_T_lidar(),
                        points_lidar=points,
                        points_stamp_ns=frame.stamp_ns,
                    )
                writer.write(frame)
        return tmp_path / "bag"

    return write


def replayed(bag: Path, checkpoint: Path, out: Path, topic: str) -> list[Any]:
    """What the offline path writes on a topic."""
    options = ReplayOptions(pictures="none", shown_score=0.0)
    replay(open_source(bag), Detector.from_checkpoint(checkpoint), CheckpointName.of(checkpoint), out, options)
    with AnyReader([out / "detections"], default_typestore=bag_typestore()) as reader:
        connections = [connection for connection in reader.connections if connection.topic == topic]
        return [reader.deserialize(raw, connection.msgtype) for connection, _, raw in reader.messages(connections)]


def play(graph: Any, bag: Path, heard: list[Any]) -> None:
    """Send a bag's messages as they are; after each image, wait for what the node says to it."""
    topics = {"/camera/image_rect/compressed": "image/compressed", "/camera/camera_info": "camera_info"}
    with AnyReader([bag]) as reader:
        for connection, _, raw in reader.messages():
            is_static = connection.topic == "/tf_static"
            if connection.topic in topics or is_static:
                message = deserialize_message(bytes(raw), ros_message_types(connection.msgtype))
                answers = len(heard) + ("image" in connection.topic)
                graph.send(topics.get(connection.topic, connection.topic), message, latched() if is_static else None)
                graph.until(lambda answers=answers: len(heard) >= answers, "boxes of an image")


def as_numbers(message: Any) -> Any:
    """A message as plain values, whichever library made it."""
    if isinstance(message, (str, bool, int, float)):
        return message
    if isinstance(message, (list, tuple)):
        return [as_numbers(item) for item in message]
    if isinstance(message, np.ndarray) or hasattr(message, "tolist"):
        return list(message.tolist())
    names = message.get_fields_and_field_types() if hasattr(message, "get_fields_and_field_types") else None
    names = names or [field.name for field in dataclasses.fields(message) if not field.name.startswith("__")]
    return {name: as_numbers(getattr(message, name)) for name in names if name.islower()}  # not constants


def start(graph: Any, checkpoint: Path, topic: str, message: str, **parameters: Any) -> list[Any]:
    heard = graph.listen(topic, message)
    values = {
        "checkpoint": str(checkpoint),
        "device": "cpu",
        "image_transport": "compressed",
        "marker_score_threshold": 0.0,
        "marker_lifetime_s": 0.25,
        "qos_overrides./image/compressed.subscription.reliability": "reliable",
        **parameters,
    }
    node = DetectorNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    assert node.start()
    graph.run(node)
    return heard


def test_markers_are_those_of_replay(graph: Any, tiny_checkpoint: Path, write_bag: Any, tmp_path: Path) -> None:
    bag = write_bag(with_lidar=False)
    heard = start(graph, tiny_checkpoint, "markers", "visualization_msgs/msg/MarkerArray", publish_detections=False)
    play(graph, bag, heard)
    expected = replayed(bag, tiny_checkpoint, tmp_path / "out", "/markers")
    assert len(expected) == COUNT and sum(len(item.markers) for item in expected) > COUNT
    assert [as_numbers(item) for item in heard] == [as_numbers(item) for item in expected]


def test_detections_are_those_of_replay(graph: Any, tiny_checkpoint: Path, write_bag: Any, tmp_path: Path) -> None:
    pytest.importorskip("vision_msgs", reason="needs vision_msgs: a full ROS 2")
    bag = write_bag(with_lidar=False)
    heard = start(graph, tiny_checkpoint, "detections", "vision_msgs/msg/Detection3DArray")
    play(graph, bag, heard)
    expected = replayed(bag, tiny_checkpoint, tmp_path / "out", "/detections")
    assert len(expected) == COUNT and sum(len(item.detections) for item in expected) > COUNT
    assert [as_numbers(item) for item in heard] == [as_numbers(item) for item in expected]


def test_a_known_mount_gives_the_boxes_of_replay(
    graph: Any, tiny_checkpoint: Path, write_bag: Any, tmp_path: Path
) -> None:
    pytest.importorskip("tf2_ros", reason="needs tf2_ros: a full ROS 2")
    bag = write_bag(with_lidar=True)
    parameters = {"lidar_frame": "lidar", "tf_timeout_s": 5.0}
    heard = start(graph, tiny_checkpoint, "detections", "vision_msgs/msg/Detection3DArray", **parameters)
    play(graph, bag, heard)
    expected = replayed(bag, tiny_checkpoint, tmp_path / "out", "/detections")
    for live, offline in zip(heard, expected, strict=True):
        assert stamp_ns_from_msg(live.header.stamp) == stamp_ns_from_msg(offline.header.stamp)
        mine, theirs = (_poses(message) for message in (live, offline))
        np.testing.assert_allclose(mine, theirs, atol=1e-4)  # tf turns the mount into a quaternion and back
    assert heard[0].detections


def _poses(message: Any) -> np.ndarray:
    rows = []
    for detection in message.detections:
        position, turn = detection.bbox.center.position, detection.bbox.center.orientation
        score = detection.results[0].hypothesis.score
        rows.append([position.x, position.y, position.z, turn.x, turn.y, turn.z, turn.w, score])
    return np.array(rows)


def test_a_builder_of_either_library_writes_the_same(picture: Any, camera: CameraModel, tiny_checkpoint: Path) -> None:
    pytest.importorskip("vision_msgs", reason="needs vision_msgs: a full ROS 2")
    from monotakd_ros.data.message_types import bag_message_types

    found = Detector.from_checkpoint(tiny_checkpoint).detect(Frame("f", START_NS, picture(0), camera))
    texts = [
        as_numbers(DetectionMessages(types).detections(found, START_NS, "camera"))
        for types in (ros_message_types, bag_message_types())
    ]
    assert texts[0] == texts[1]
