"""One camera of the detector node: its subscriptions, its frames, its counts, its publishers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSPolicyKind, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

from monotakd_ros.data.bag_topics import rectified_name
from monotakd_ros.detector import Detector
from monotakd_ros.frame import Frame
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.image_decoding import Decode
from monotakd_ros.ros.image_topics import image_source
from monotakd_ros.ros.live_frames import LiveFrames
from monotakd_ros.ros.optional import ros_message_types
from monotakd_ros.ros.outputs import DetectionOutputs
from monotakd_ros.ros.tally import CameraTally
from monotakd_ros.ros.throttle import Throttle

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

OVERRIDABLE = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
)


class LiveCamera:
    """One camera.

    Args:
        node: whose subscriptions and publishers they are.
        name: its namespace; empty for the node's own.
        settings: as configured.
        decode: pixels of an image message.
        on_image: called with this camera and each image message, in the executor's thread.

    Attributes:
        image_topic: what is subscribed to, remapped.
        info_topic: the same of CameraInfo.
        tally: counts and times.
        frames: makes frames of its messages.
        outputs: its publishers.
        notes: where camera and mount go beyond what training covered.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: DetectorSettings,
        decode: Decode,
        on_image: Callable[[LiveCamera, Any], None],
    ) -> None:
        self._node, self.name, self._on_image = node, name, on_image
        prefix = f"{name}/" if name else ""
        base = node.resolve_topic_name(f"{prefix}image")
        self.image_topic, self._image_type = image_source(base, settings.image_transport)
        self.info_topic = node.resolve_topic_name(f"{prefix}camera_info")
        self.tally = CameraTally()
        self.frames = LiveFrames(self.image_topic, rectified_name(self.image_topic), settings.rectify, decode)  # type: ignore[arg-type]
        self.outputs = DetectionOutputs(node, name, settings, ros_message_types)
        self._listening: list[Any] = []
        self._throttle = Throttle()
        self.notes: tuple[str, ...] = ()
        self._noted: Any = None

    @property
    def title(self) -> str:
        """For people."""
        return f"camera {self.name}" if self.name else "camera"

    @property
    def is_listening(self) -> bool:
        """Whether it is subscribed."""
        return bool(self._listening)

    def publishers_seen(self) -> int:
        """How many publish its images."""
        return self._node.count_publishers(self.image_topic)

    def note(self, frame: Frame, detector: Detector) -> None:
        """Look at a frame's camera, when it is another than before."""
        if frame.camera is not self._noted:
            self._noted, self.notes = frame.camera, detector.notes(frame)

    def subscribe(self) -> None:
        """Listen, if it does not."""
        if not self._listening:
            self._subscribe("sensor_msgs/msg/CameraInfo", self.info_topic, self._take_camera_info)
            self._subscribe(self._image_type, self.image_topic, self._take_image)

    def unsubscribe(self) -> None:
        """Listen no longer."""
        for subscription in self._listening:
            self._node.destroy_subscription(subscription)
        self._listening.clear()

    def close(self) -> None:
        """Give everything back."""
        self.unsubscribe()
        self.outputs.close()

    def _subscribe(self, message: str, topic: str, callback: Callable[[Any], None]) -> None:
        events = SubscriptionEventCallbacks(incompatible_qos=lambda event: self._incompatible(topic, event))
        made = self._node.create_subscription(
            ros_message_types(message),
            topic,
            callback,
            copy.copy(qos_profile_sensor_data),  # rclpy writes overrides into it, and all share that one
            event_callbacks=events,
            qos_overriding_options=OVERRIDABLE,
        )
        self._listening.append(made)

    def _take_image(self, message: Any) -> None:
        self.tally.count("received")
        self._on_image(self, message)

    def _take_camera_info(self, message: Any) -> None:
        if self.frames.take_camera_info(message):
            self.tally.count("calibrations")
            if self._throttle.lets_through("calibrations"):
                times = self.tally.counts()["calibrations"]
                logger = self._node.get_logger()
                logger.warning(f"{self.title}: CameraInfo has changed ({times} so far); it counts from now on")

    def _incompatible(self, topic: str, event: Any) -> None:
        name = self._node.resolve_topic_name(topic)
        policy = str(QoSPolicyKind(event.last_policy_kind).name).lower()
        text = (
            f"a publisher of {name} offers another QoS than is asked for ({policy}): nothing comes from it; set "
            f"qos_overrides.{name}.subscription.{policy}"
        )
        self.tally.note(text)
        self._node.get_logger().error(f"{self.title}: {text}")
