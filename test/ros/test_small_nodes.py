"""detector_view and wait_until_active in a real graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monotakd_ros.data.from_msg import transform_from_msg

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: `make test-ros`, or a sourced ROS 2")

from rclpy.parameter import Parameter  # noqa: E402

from monotakd_ros.ros.detector_node import DetectorNode  # noqa: E402
from monotakd_ros.ros.qos import latched  # noqa: E402
from monotakd_ros.ros.wait_until_active import WaitUntilActive  # noqa: E402


def test_the_view_is_upright_where_the_camera_is(graph: Any, camera: Any) -> None:
    pytest.importorskip("tf2_ros", reason="needs tf2_ros")
    from monotakd_ros.ros.detector_view import DetectorView

    heard = graph.listen("/tf_static", "tf2_msgs/msg/TFMessage", latched())
    graph.run(DetectorView())
    graph.send("camera_info", graph.make.camera_info(camera, 1, "front_optical"))
    graph.until(lambda: heard, "the transform")
    (transform,) = heard[0].transforms
    read = transform_from_msg(transform)
    assert (read.parent, read.child) == ("front_optical", "detector_view")
    ahead, left, up = read.parent_T_child[:3, :3].T
    np.testing.assert_allclose([ahead, left, up], [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)


def wait(graph: Any, **parameters: Any) -> WaitUntilActive:
    """Runs the node until it is done."""
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = graph.run(WaitUntilActive(parameter_overrides=overrides))
    graph.until(lambda: node.is_done, "an end")
    return node


def test_waiting_ends_when_the_node_is_active(graph: Any, tiny_checkpoint: Path) -> None:
    values = {"checkpoint": str(tiny_checkpoint), "device": "cpu", "publish_detections": False}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    detector = graph.run(DetectorNode(parameter_overrides=overrides))
    assert wait(graph, timeout_s=0.5).exit_code == 1  # it is there, and unconfigured
    assert detector.start()
    assert wait(graph, timeout_s=20.0).exit_code == 0


def test_waiting_for_nobody_ends_with_an_error(graph: Any) -> None:
    assert wait(graph, node="nobody", timeout_s=0.1).exit_code == 1
