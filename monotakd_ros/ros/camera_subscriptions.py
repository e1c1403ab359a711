"""What a node hears of one camera: images and CameraInfo, under the names that users remap."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

from monotakd_ros.data.bag_topics import rectified_name
from monotakd_ros.data.camera_frames import Rectify
from monotakd_ros.errors import ConfigError
from monotakd_ros.ros.image_decoding import Decode
from monotakd_ros.ros.image_topics import image_source
from monotakd_ros.ros.live_frames import LiveFrames
from monotakd_ros.ros.optional import ros_message_types
from monotakd_ros.ros.throttle import Throttle

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

OVERRIDABLE = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
)


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
        kind = ros_message_types(message)
        topic = self._node.resolve_topic_name(name)
        events = SubscriptionEventCallbacks(incompatible_qos=lambda event: self._incompatible(topic, event))
        qos = copy.copy(qos_profile_sensor_data)  # rclpy writes overrides into it, and all share that one
        try:
            made = self._node.create_subscription(
                kind, name, callback, qos, event_callbacks=events, qos_overriding_options=OVERRIDABLE
            )
        except Exception as error:  # rclpy and DDS have many kinds for a QoS that cannot be
            self.unsubscribe()
            raise ConfigError(f"subscription of {topic}: are its qos_overrides valid? {error}") from error
        self._made.append(made)

    def _take_camera_info(self, message: Any) -> None:
        if self.frames.take_camera_info(message):
            self._changes += 1
            self._on_calibration()
            if self._throttle.lets_through("changes"):
                self._node.get_logger().warning(
                    f"{self.info_topic}: CameraInfo has changed ({self._changes} so far); it counts from now on"
                )

    def _incompatible(self, topic: str, event: Any) -> None:
        policy = str(QoSPolicyKind(event.last_policy_kind).name).lower()
        text = (
            f"a publisher of {topic} offers another QoS than is asked for ({policy}): nothing comes from it; set "
            f"qos_overrides.{topic}.subscription.{policy}"
        )
        self._on_problem(text)
        self._node.get_logger().error(text)
