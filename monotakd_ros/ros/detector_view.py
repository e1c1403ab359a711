"""The tf frame that RViz looks from: where the camera is, x forward, y left, z up.

A camera alone has one frame, which looks along z: in RViz the world lies on its side there. This node adds a leaf
`detector_view` below it and touches nothing else, so that RViz has a frame to stand in whatever the vehicle's tf is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo

from monotakd_ros.ros.diagnostics import steady_clock
from monotakd_ros.ros.optional import ros_module
from monotakd_ros.ros.parameters import READ_AT_START, NodeParameters
from monotakd_ros.ros.run_node import main_of
from monotakd_ros.ros.settings import setting

OPTICAL_TO_UPRIGHT = {"x": 0.5, "y": -0.5, "z": 0.5, "w": 0.5}
"""Quaternion from x forward, y left, z up into x right, y down, z forward."""
REMIND_S = 5.0


@dataclass(frozen=True)
class ViewSettings:
    """Parameters of `detector_view`."""

    frame: str = setting("detector_view", "Name of the tf frame that is added.")


class DetectorView(Node):
    """Adds the frame when the first CameraInfo tells what the camera's own is called.

    Raises:
        MissingDependencyError: tf2_ros is not installed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("detector_view", **options)
        self._settings = NodeParameters(self, ViewSettings, is_fixed=lambda: True, why_fixed=READ_AT_START).current
        tf2_ros = ros_module("tf2_ros", "a frame for RViz", "name one of your own: fixed_frame:=base_link")
        self._broadcaster = tf2_ros.StaticTransformBroadcaster(self)
        self._subscription = self.create_subscription(CameraInfo, "camera_info", self._show, qos_profile_sensor_data)
        self._reminder = self.create_timer(REMIND_S, self._remind, clock=steady_clock())

    def start(self) -> bool:
        """Nothing to do before it spins."""
        return True

    def close(self) -> None:
        """Nothing to give back but what `destroy_node` does."""

    def _show(self, info: CameraInfo) -> None:
        parent = info.header.frame_id.removeprefix("/") or "camera"
        transform = TransformStamped(child_frame_id=self._settings.frame)
        transform.header.frame_id, transform.header.stamp = parent, info.header.stamp
        for axis, value in OPTICAL_TO_UPRIGHT.items():
            setattr(transform.transform.rotation, axis, value)
        self._broadcaster.sendTransform(transform)
        self.get_logger().info(f"frame {self._settings.frame} stands at {parent}")
        self.destroy_subscription(self._subscription)
        self.destroy_timer(self._reminder)

    def _remind(self) -> None:
        topic = self.resolve_topic_name("camera_info")
        self.get_logger().warning(f"no CameraInfo on {topic} yet: {self._settings.frame} cannot be placed")


def main() -> None:
    """`ros2 run monotakd_ros detector_view`."""
    main_of(DetectorView)
