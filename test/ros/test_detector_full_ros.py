"""The detector node with what only a full ROS 2 has: vision_msgs, tf2, rosbag2."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.detector import Detector
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.transforms import LIDAR_TO_OPTICAL_ROTATION, make_transform, rotation_from_quaternion

pytest.importorskip("vision_msgs", reason="needs vision_msgs: a full ROS 2")
pytest.importorskip("tf2_ros", reason="needs tf2_ros: a full ROS 2")

from monotakd_ros.ros.qos import latched

STAMP_NS = 1_700_000_000_000_000_000
ARRAY = "vision_msgs/msg/Detection3DArray"
BASE_T_CAM = make_transform(LIDAR_TO_OPTICAL_ROTATION.T, [2.0, 0.0, 1.5])


@pytest.fixture
def start(start: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with detections."""
    return functools.partial(start, publish_detections=True)


@pytest.fixture
def expected(tiny_checkpoint: Path, picture: Any, camera: Any) -> Any:
    """What the detector finds in picture 0."""
    return Detector.from_checkpoint(tiny_checkpoint).detect(Frame("f", STAMP_NS, picture(0), camera))


def of_stamp(graph: Any, heard: list[Any], stamp_ns: int) -> Any:
    return graph.until(
        lambda: next((item for item in heard if stamp_ns_from_msg(item.header.stamp) == stamp_ns), None),
        f"detections of {stamp_ns}",
    )


def positions(array: Any) -> np.ndarray:
    centers = [detection.bbox.center.position for detection in array.detections]
    return np.array([[center.x, center.y, center.z] for center in centers])


def test_boxes_stand_in_the_output_frame(graph: Any, start: Any, picture: Any, expected: Any) -> None:
    heard = graph.listen("detections", ARRAY)
    start(output_frame="base_link", tf_timeout_s=5.0)
    graph.send("/tf_static", graph.make.transform(BASE_T_CAM, "base_link", "camera", 0), latched())
    graph.send_camera(picture(0), STAMP_NS)
    array = of_stamp(graph, heard, STAMP_NS)
    assert array.header.frame_id == "base_link"
    base_T_lidar = BASE_T_CAM @ expected.cam_T_lidar
    centers = expected.boxes_lidar[:, :3].astype(np.float64) @ base_T_lidar[:3, :3].T + base_T_lidar[:3, 3]
    np.testing.assert_allclose(positions(array), centers, atol=1e-5)
    first = array.detections[0]
    turn = first.bbox.center.orientation
    up = rotation_from_quaternion(np.array([turn.x, turn.y, turn.z, turn.w]))[:, 2]
    np.testing.assert_allclose(up, base_T_lidar[:3, 2], atol=1e-6)
    covariance = first.results[0].pose.covariance.reshape(6, 6)[:3, :3]
    rotation = base_T_lidar[:3, :3]
    np.testing.assert_allclose(covariance, rotation @ expected.covariance_lidar[0] @ rotation.T, rtol=1e-4)
    assert np.linalg.eigvalsh(covariance).max() > 4 * np.linalg.eigvalsh(covariance).min() > 0


def test_without_tf_an_image_is_skipped_and_the_next_one_with_it_is_not(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("detections", ARRAY)
    start(output_frame="base_link", tf_timeout_s=0.05)
    graph.send_camera(picture(0), STAMP_NS)
    found = graph.until(
        lambda: (found := graph.health("camera")) and found.get("no transform") == "1" and found, "a missing transform"
    )
    assert "tf from 'camera' to 'base_link'" in found["message"] and not heard
    graph.send("/tf_static", graph.make.transform(BASE_T_CAM, "base_link", "camera", 0), latched())
    for index in range(1, 50):
        graph.send_camera(picture(0), STAMP_NS + index)
        if heard:
            break
        time.sleep(0.1)
    assert of_stamp(graph, heard, STAMP_NS + index).detections


def test_tf_that_comes_late_is_waited_for(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("detections", ARRAY)
    start(output_frame="base_link", tf_timeout_s=5.0)
    graph.send_camera(picture(0), STAMP_NS)
    time.sleep(0.3)
    assert not heard
    graph.send("/tf_static", graph.make.transform(BASE_T_CAM, "base_link", "camera", 0), latched())
    assert of_stamp(graph, heard, STAMP_NS).detections


def test_cleanup_gives_back_what_tf_took(graph: Any, start: Any) -> None:
    """tf2's buffer keeps a service and a callback of the clock; one that is gone must not be called."""
    node = start(output_frame="base_link", use_sim_time=True)
    for _ in range(3):
        for name in ("deactivate", "cleanup", "configure", "activate"):
            graph.transition(name)
    assert sum("tf2" in service.srv_name for service in node.services) == 1
    for name in ("deactivate", "cleanup"):
        graph.transition(name)
    gc.collect()
    for seconds in (1000, 10):
        graph.send("/clock", graph.make.make("rosgraph_msgs/msg/Clock", clock=graph.make.time(seconds * 10**9)))
        graph.until(lambda seconds=seconds: node.get_clock().now().nanoseconds == seconds * 10**9, "the node's clock")
    assert not any("tf2" in service.srv_name for service in node.services)


def test_classes_are_told_to_those_who_come_late(graph: Any, start: Any) -> None:
    start(score_threshold=0.25)
    heard = graph.listen("label_info", "vision_msgs/msg/LabelInfo", latched())
    (info,) = graph.until(lambda: heard, "LabelInfo")
    assert [item.class_name for item in info.class_map] == ["Car", "Pedestrian", "Cyclist"]
    assert info.threshold == pytest.approx(0.25)


def test_two_cameras_make_one_list_without_duplicates(
    graph: Any, start: Any, picture: Any, expected: Any, camera: Any
) -> None:
    heard = {name: graph.listen(name, ARRAY) for name in ("detections", "front/detections", "left/detections")}
    start(
        cameras=["front", "left"],
        output_frame="base_link",
        publish_merged=True,
        batch_window_s=1.0,
        tf_timeout_s=5.0,
    )
    for name in ("front", "left"):  # both look the same way, so every object is seen twice
        graph.send("/tf_static", graph.make.transform(BASE_T_CAM, "base_link", name, 0), latched())
        graph.send(f"{name}/camera_info", graph.make.camera_info(camera, STAMP_NS, name))
    graph.send("front/image", graph.make.image(picture(0), STAMP_NS, "front"))
    graph.send("left/image", graph.make.image(picture(0), STAMP_NS + 1, "left"))
    merged = of_stamp(graph, heard["detections"], STAMP_NS + 1)
    assert len(of_stamp(graph, heard["front/detections"], STAMP_NS).detections) == len(expected)
    assert len(of_stamp(graph, heard["left/detections"], STAMP_NS + 1).detections) == len(expected)
    assert len(merged.detections) == len(expected)
    assert merged.header.frame_id == "base_link"
    assert {stamp_ns_from_msg(detection.header.stamp) for detection in merged.detections} == {STAMP_NS}


def test_cameras_that_come_apart_are_listed_together(graph: Any, start: Any, picture: Any, camera: Any) -> None:
    heard = {name: graph.listen(name, ARRAY) for name in ("detections", "front/detections", "left/detections")}
    start(
        publish_detections=True,
        cameras=["front", "left"],
        output_frame="base_link",
        publish_merged=True,
        batch_window_s=0.0,
        marker_lifetime_s=20.0,
        tf_timeout_s=5.0,
    )
    for index, name in enumerate(("front", "left")):
        graph.send("/tf_static", graph.make.transform(BASE_T_CAM, "base_link", name, 0), latched())
        graph.send_camera(picture(index), STAMP_NS + index, f"{name}/", name)
        of_stamp(graph, heard["detections"], STAMP_NS + index)
    first, second = heard["detections"]
    assert {stamp_ns_from_msg(detection.header.stamp) for detection in first.detections} == {STAMP_NS}
    stamps = {stamp_ns_from_msg(detection.header.stamp) for detection in second.detections}
    assert stamps == {STAMP_NS, STAMP_NS + 1}
    count = len(first.detections) + len(heard["left/detections"][0].detections)
    assert len(heard["left/detections"][0].detections) < len(second.detections) <= count
    assert graph.set_parameter("enabled_cameras", ["left"]) == ""
    graph.send_camera(picture(1), STAMP_NS + 2, "left/", "left")
    last = of_stamp(graph, heard["detections"], STAMP_NS + 2)
    assert {stamp_ns_from_msg(detection.header.stamp) for detection in last.detections} == {STAMP_NS + 2}
