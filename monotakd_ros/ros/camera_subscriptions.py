"""What a node hears of one camera: images and CameraInfo, under the names that users remap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from monotakd_ros.data.bag_topics import rectified_name
from monotakd_ros.data.camera_frames import Rectify
from monotakd_ros.errors import ConfigError
from monotakd_ros.ros.image_decoding import Decode
from monotakd_ros.ros.image_topics import image_source
from monotakd_ros.ros.live_frames import LiveFrames
from monotakd_ros.ros.sensor_subscription import subscribe_to_sensor
from monotakd_ros.ros.throttle import Throttle


class CameraSubscriptions:
    """Listens to one camera, when asked to. All callbacks come in the executor's thread.

    Args:
        node: whose subscriptions they are.
        namespace: of the camera; empty for the node's own.
        transport: "raw" or "compressed".
        rectify: see `CameraRectifier`.
        decode: pixels of an image message.
        on_image: takes each image message.
        on_calibration: called when CameraInfo says something else than before.
        on_problem: takes what keeps images from coming, in words.

    Attributes:
        image_topic: what is subscribed to, remapped.
        info_topic: the same of CameraInfo.
        frames: makes frames of the messages; is given each CameraInfo.
    """

    def __init__(
        self,
        node: Node,
        namespace: str,
        transport: str,
        rectify: Rectify,
        decode: Decode,
        on_image: Callable[[Any], None],
        on_calibration: Callable[[], None] = lambda: None,
        on_problem: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._node, self._on_image = node, on_image
        self._on_calibration, self._on_problem = on_calibration, on_problem
        prefix = f"{namespace}/" if namespace else ""
        base = node.resolve_topic_name(f"{prefix}image")
        self.image_topic, self._image_type = image_source(base, transport)
        # Given by its own name, so that remaps apply once: only the compressed one is not what users remap.
        self._image_name = f"{prefix}image" if self.image_topic == base else self.image_topic
        self._info_name = f"{prefix}camera_info"
        self.info_topic = node.resolve_topic_name(self._info_name)
        self.frames = LiveFrames(self.image_topic, rectified_name(self.image_topic), rectify, decode)
        self._made: list[Any] = []
        self._changes = 0
        self._throttle = Throttle()

    @property
    def is_listening(self) -> bool:
        """Whether it is subscribed."""
        return bool(self._made)

    def publishers_seen(self) -> int:
        """How many publish images."""
        return self._node.count_publishers(self.image_topic)

    def subscribe(self) -> None:
        """Listen, if it does not.

        Raises:
            ConfigError: a QoS override of these topics is not valid.
        """
        if not self._made:
            self._subscribe("sensor_msgs/msg/CameraInfo", self._info_name, self._take_camera_info)
            self._subscribe(self._image_type, self._image_name, self._on_image)

    def unsubscribe(self) -> None:
        """Listen no longer."""
        for subscription in self._made:
            self._node.destroy_subscription(subscription)
        self._made.clear()

    def _subscribe(self, message: str, name: str, callback: Callable[[Any], None]) -> None:
        try:
            self._made.append(subscribe_to_sensor(self._node, message, name, callback, self._on_problem))
        except ConfigError:
            self.unsubscribe()
            raise

    def _take_camera_info(self, message: Any) -> None:
        if self.frames.take_camera_info(message):
            self._changes += 1
            self._on_calibration()
            if self._throttle.lets_through("changes"):
                self._node.get_logger().warning(
                    f"{self.info_topic}: CameraInfo has changed ({self._changes} so far); it counts from now on"
                )
