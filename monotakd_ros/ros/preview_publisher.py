"""Frames that are being made, for RViz: topics as in the bags of `monotakd view --bag`, below the node's own name.

Nothing is converted for a topic that nobody listens to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions

from monotakd_ros.data.boxed_bag_writer import BOX_TOPICS
from monotakd_ros.data.detections_to_msg import DetectionMessages, detections_from_labels
from monotakd_ros.errors import MissingDependencyError
from monotakd_ros.frame import BoxedFrame, BoxKind, Frame, Labels3D
from monotakd_ros.geometry.transforms import invert_transform
from monotakd_ros.ros.optional import ros_message_types, ros_module
from monotakd_ros.ros.qos import latched
from monotakd_ros.visualization.box_styles import BOX_STYLES


class PreviewPublisher:
    """Publishes frames with their boxes.

    Args:
        node: whose publishers they are.
        with_transforms: whether tf between LiDAR and camera is published, because nobody else does.

    Attributes:
        lacking: what this installation cannot publish, and why.
    """

    def __init__(self, node: Node, with_transforms: bool) -> None:
        self._node = node
        self.lacking: list[str] = []
        self._messages = DetectionMessages(ros_message_types)
        self._image = self._publisher("sensor_msgs/msg/Image", "~/image")
        self._camera_info = self._publisher("sensor_msgs/msg/CameraInfo", "~/camera_info")
        self._points = self._publisher("sensor_msgs/msg/PointCloud2", "~/points")
        kinds: tuple[BoxKind, ...] = get_args(BoxKind)
        self._markers = {
            kind: self._publisher("visualization_msgs/msg/MarkerArray", f"~{BOX_TOPICS[kind]}/markers")
            for kind in kinds
        }
        self._boxes = self._or_lacking(
            lambda: {
                kind: self._publisher("vision_msgs/msg/Detection3DArray", f"~{BOX_TOPICS[kind]}") for kind in kinds
            },
            {},
        )
        self._make_cloud = cloud_maker(self._messages)
        self._sent: tuple[tuple[str, str], np.ndarray] | None = None
        self._transforms = self._or_lacking(self._broadcaster, None) if with_transforms else None

    @property
    def is_wanted(self) -> bool:
        """Whether anybody listens to any topic."""
        return any(map(_is_heard, self._publishers()))

    def publish(self, boxed: BoxedFrame) -> None:
        """Show a frame, at its own stamp."""
        frame = boxed.frame
        where = (frame.stamp_ns, frame.camera_frame_id)
        if self._transforms is not None and frame.cam_T_lidar is not None:
            self._send_transform(frame, frame.cam_T_lidar)
        if _is_heard(self._image):
            self._image.publish(self._messages.image(frame.image, *where))
        if _is_heard(self._camera_info):
            self._camera_info.publish(self._messages.camera_info(frame.camera, *where))
        if _is_heard(self._points) and frame.points_lidar is not None:
            self._points.publish(self._make_cloud(frame.points_lidar, frame.stamp_ns, frame.lidar_frame_id))
        for kind in self._markers:
            self._publish_boxes(kind, boxed)

    def close(self) -> None:
        """Give the publishers back."""
        for publisher in self._publishers():
            self._node.destroy_publisher(publisher)

    def _publishers(self) -> list[Any]:
        return [self._image, self._camera_info, self._points, *self._markers.values(), *self._boxes.values()]

    def _publish_boxes(self, kind: BoxKind, boxed: BoxedFrame) -> None:
        """A kind that the frame has none of is published as none: boxes of an earlier frame must not stay."""
        frame, labels = boxed.frame, boxed.boxes.get(kind, Labels3D.empty())
        if kind in self._boxes and _is_heard(self._boxes[kind]):
            message = self._messages.ground_truth(labels, frame.stamp_ns, frame.lidar_frame_id)
            self._boxes[kind].publish(message)
        if frame.cam_T_lidar is not None and _is_heard(self._markers[kind]):
            message = self._messages.markers(
                detections_from_labels(labels, frame.cam_T_lidar),
                frame.stamp_ns,
                frame.camera_frame_id,
                BOX_STYLES[kind].colour_of,
                lifetime_s=0.0,
                with_scores=labels.scores is not None,
            )
            self._markers[kind].publish(message)

    def _publisher(self, kind: str, topic: str) -> Any:
        overriding = QoSOverridingOptions.with_default_policies()
        return self._node.create_publisher(ros_message_types(kind), topic, latched(), qos_overriding_options=overriding)

    def _broadcaster(self) -> Any:
        tf2_ros = ros_module("tf2_ros", "tf between LiDAR and camera in previews", "show them in their own frames")
        return tf2_ros.StaticTransformBroadcaster(self._node)

    def _send_transform(self, frame: Frame, cam_T_lidar: np.ndarray) -> None:
        """Where it is another one than that sent last."""
        known, frame_ids = self._sent, (frame.lidar_frame_id, frame.camera_frame_id)
        if known is not None and known[0] == frame_ids and np.array_equal(known[1], cam_T_lidar):
            return
        self._sent = frame_ids, cam_T_lidar
        message = self._messages.transform(invert_transform(cam_T_lidar), *frame_ids, frame.stamp_ns)
        self._transforms.sendTransform(message.transforms)

    def _or_lacking(self, make: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return make()
        except MissingDependencyError as error:
            self.lacking.append(str(error))
            return otherwise


def cloud_maker(messages: DetectionMessages) -> Callable[[np.ndarray, int, str], Any]:
    """Makes PointCloud2 messages of (N, 4) float32: sensor_msgs_py where it is installed, else ours; the same bytes."""
    try:
        point_cloud2 = ros_module("sensor_msgs_py.point_cloud2", "clouds", "go on without it")
    except MissingDependencyError:
        return messages.point_cloud

    def make(points_lidar: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
        points = np.ascontiguousarray(points_lidar, dtype=np.float32)
        made = point_cloud2.create_cloud(messages.header(stamp_ns, frame_id), messages.point_fields(), points)
        made.is_dense = True
        return made

    return make


def _is_heard(publisher: Any) -> bool:
    return publisher.get_subscription_count() > 0
