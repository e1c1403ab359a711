"""What the detector node publishes for one camera, or for several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from monotakd_ros.data.detections_to_msg import DetectionMessages
from monotakd_ros.data.message_types import MessageTypes
from monotakd_ros.errors import ConfigError
from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.qos import latched
from monotakd_ros.visualization.camera_view import draw_camera_view
from monotakd_ros.visualization.palette import class_colour


@dataclass(frozen=True, eq=False)
class Placed:
    """The boxes of one image, and where they are to be shown.

    Attributes:
        camera: its name.
        frame: the image.
        detections: all that are published.
        frame_id: tf frame of the messages.
        frame_T_cam: (4, 4) from the camera into it.
    """

    camera: str
    frame: Frame
    detections: Detections3D
    frame_id: str
    frame_T_cam: np.ndarray


class DetectionOutputs:
    """Publishers of one camera, or of the merged list.

    Args:
        node: theirs.
        namespace: before the topics; empty or "front".
        settings: what is published.
        message_types: classes of the messages.
        annotated: whether there is an image to draw on.

    Raises:
        MissingDependencyError: vision_msgs is asked for and not installed.
        ConfigError: a QoS override of these topics is not valid.
    """

    def __init__(
        self,
        node: LifecycleNode,
        namespace: str,
        settings: DetectorSettings,
        message_types: MessageTypes,
        annotated: bool = True,
    ) -> None:
        self._node, self._message_types = node, message_types
        self._messages = DetectionMessages(message_types)
        self._prefix = f"{namespace}/" if namespace else ""
        self._made: list[Any] = []
        self._detections = self._labels = self._markers = self._image = None
        try:
            self._make(settings, annotated)
        except BaseException:  # what was made before must not stay behind
            self.close()
            raise

    def _make(self, settings: DetectorSettings, annotated: bool) -> None:
        if settings.publish_detections:
            self._detections = self._publisher("vision_msgs/msg/Detection3DArray", "detections", QoSProfile(depth=10))
            self._labels = self._publisher("vision_msgs/msg/LabelInfo", "label_info", latched(), overridable=False)
        if settings.publish_markers:
            self._markers = self._publisher("visualization_msgs/msg/MarkerArray", "markers", QoSProfile(depth=10))
        if annotated:
            self._image = self._publisher("sensor_msgs/msg/Image", "annotated_image", QoSProfile(depth=1))

    def announce(self, class_names: tuple[str, ...], threshold: float, stamp_ns: int, frame_id: str) -> None:
        """Publish LabelInfo, latched."""
        if self._labels is not None:
            self._labels.publish(self._messages.label_info(class_names, threshold, stamp_ns, frame_id))

    def publish(self, found: Sequence[Placed], settings: DetectorSettings, lifetime_s: float) -> None:
        """Publish the boxes of one image, or of several as one list stamped as the newest; nothing for none."""
        if not found:
            return
        newest = max(found, key=lambda item: item.frame.stamp_ns)
        if _wanted(self._detections):
            arrays = [self._array(item) for item in found]
            header = self._messages.header(newest.frame.stamp_ns, newest.frame_id)
            together = [detection for array in arrays for detection in array.detections]
            self._detections.publish(type(arrays[0])(header=header, detections=together))
        if _wanted(self._markers):
            self._markers.publish(self._marker_array(found, settings.marker_score_threshold, lifetime_s))
        if settings.publish_annotated_image and _wanted(self._image):
            self._image.publish(self._picture(newest, settings.marker_score_threshold))

    def clear(self, stamp_ns: int, frame_id: str) -> None:
        """Take all markers away."""
        if self._markers is not None:
            self._markers.publish(self._messages.no_markers(stamp_ns, frame_id))

    def close(self) -> None:
        """Give the publishers back."""
        for publisher in self._made:
            self._node.destroy_lifecycle_publisher(publisher)
        self._made.clear()

    def _publisher(self, message: str, topic: str, qos: QoSProfile, overridable: bool = True) -> Any:
        options = QoSOverridingOptions.with_default_policies() if overridable else None
        kind = self._message_types(message)
        try:
            made = self._node.create_lifecycle_publisher(
                kind, self._prefix + topic, qos, qos_overriding_options=options
            )
        except Exception as error:  # rclpy and DDS have many kinds for a QoS that cannot be
            raise ConfigError(f"publisher of {self._prefix}{topic}: are its qos_overrides valid? {error}") from error
        self._made.append(made)
        return made

    def _array(self, item: Placed) -> Any:
        return self._messages.detections(item.detections, item.frame.stamp_ns, item.frame_id, item.frame_T_cam)

    def _marker_array(self, found: Sequence[Placed], threshold: float, lifetime_s: float) -> Any:
        """The markers of all images behind one DELETEALL, with numbers of their own."""
        markers: list[Any] = []
        for item in found:
            made = self._messages.markers(
                item.detections.select(item.detections.scores >= np.float32(threshold)),
                item.frame.stamp_ns,
                item.frame_id,
                class_colour,
                lifetime_s,
                frame_T_cam=item.frame_T_cam,
            ).markers
            first = 1 + max((marker.id for marker in markers[1:]), default=-1)
            for marker in made[1:]:
                marker.id += first
            markers += made[1:] if markers else made
        return self._messages.make("visualization_msgs/msg/MarkerArray", markers=markers)

    def _picture(self, item: Placed, threshold: float) -> Any:
        shown = item.detections.select(item.detections.scores >= np.float32(threshold))
        picture = draw_camera_view(item.frame, shown)
        return self._messages.image(picture, item.frame.stamp_ns, item.frame.camera_frame_id)


def _wanted(publisher: Any) -> bool:
    """Whether somebody listens."""
    return publisher is not None and publisher.get_subscription_count() > 0
