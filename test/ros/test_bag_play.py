"""A bag played by `ros2 bag play --clock` through the node's own process gives the detections of `monotakd replay`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.data.source import open_source
from monotakd_ros.detector import Detector
from monotakd_ros.frame import Frame

pytest.importorskip("vision_msgs", reason="needs vision_msgs: a full ROS 2")
pytest.importorskip("rosbag2_py", reason="needs rosbag2: a full ROS 2")

from rclpy.qos import QoSProfile

COUNT = 8
START_NS = 1_700_000_000_000_000_000
DRIVE = {"/camera/image_rect/compressed": "/image/compressed", "/camera/camera_info": "/camera_info"}


@pytest.fixture
def bag(tmp_path: Path, picture: Any, camera: Any) -> Path:
    """A bag of `COUNT` images at 10 Hz."""
    with open_writer(tmp_path / "bag", "bag") as writer:
        for index in range(COUNT):
            writer.write(Frame("", START_NS + index * 100_000_000, picture(index), camera, "camera_optical"))
    return tmp_path / "bag"


@pytest.fixture
def node(ros_context: None, tiny_checkpoint: Path, repository: Path) -> Iterator[subprocess.Popen[str]]:
    """The node as users start it, on simulated time."""
    parameters = {
        "use_sim_time": "true",
        "checkpoint": str(tiny_checkpoint),
        "device": "cpu",
        "image_transport": "compressed",
        "qos_overrides./image/compressed.subscription.reliability": "reliable",
        "qos_overrides./image/compressed.subscription.depth": "20",
    }
    command = [sys.executable, str(repository / "scripts" / "detector_node"), "--ros-args"]
    command += [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    environment = {**os.environ, "PYTHONPATH": f"{repository}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    yield process
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_a_played_bag_gives_the_boxes_of_replay(graph: Any, node: Any, bag: Path, tiny_checkpoint: Path) -> None:
    heard = graph.listen("/detections", "vision_msgs/msg/Detection3DArray", QoSProfile(depth=50))
    graph.until(lambda: graph.node.count_subscribers("/image/compressed"), "the node's subscription", timeout_s=60.0)
    command = [str(shutil.which("ros2")), "bag", "play", str(bag), "--clock", "100", "--rate", "0.5", "--delay", "1"]
    command += ["--disable-keyboard-controls", "--topics", *DRIVE]
    command += ["--remap", *(f"{old}:={new}" for old, new in DRIVE.items())]
    subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)
    graph.until(lambda: len(heard) >= COUNT, f"{COUNT} answers")
    detector = Detector.from_checkpoint(tiny_checkpoint)
    offline = {frame.stamp_ns: detector.detect(frame) for frame in open_source(bag).frames()}
    assert [stamp_ns_from_msg(array.header.stamp) for array in heard] == list(offline)
    for array in heard:
        found = offline[stamp_ns_from_msg(array.header.stamp)]
        results = [detection.results[0].hypothesis for detection in array.detections]
        assert [result.class_id for result in results] == list(found.names)
        assert [result.score for result in results] == [float(score) for score in found.scores]
        assert [detection.bbox.size.x for detection in array.detections] == [float(box[3]) for box in found.boxes_lidar]
