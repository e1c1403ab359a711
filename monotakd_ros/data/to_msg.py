"""Build ROS messages of a frame. No ROS import: the message classes come as an argument (`MessageTypes`).

Detections, markers and label info are built in `detections_to_msg.py`.
"""

from __future__ import annotations

import array
from typing import Any

import numpy as np

from monotakd_ros.data.image_codec import encode_compressed
from monotakd_ros.data.message_types import MessageTypes
from monotakd_ros.frame import Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import quaternion_from_rotation, rotation_about_z

NS_PER_S = 1_000_000_000
POINT_FIELDS = ("x", "y", "z", "intensity")
FLOAT32 = 7
"""sensor_msgs/PointField.FLOAT32."""


class MessageBuilder:
    """Builds messages from our types.

    Args:
        message_types: gives the class of a message name, e.g. "sensor_msgs/msg/Image".
    """

    def __init__(self, message_types: MessageTypes) -> None:
        self._message_types = message_types

    def make(self, message: str, /, **fields: Any) -> Any:
        """A message of the named type; fields that are not given are zero or empty."""
        return self._message_types(message)(**fields)

    def time(self, stamp_ns: int) -> Any:
        """builtin_interfaces/Time."""
        return self.make("builtin_interfaces/msg/Time", sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """std_msgs/Header."""
        return self.make("std_msgs/msg/Header", stamp=self.time(stamp_ns), frame_id=frame_id)

    def string(self, text: str) -> Any:
        """std_msgs/String."""
        return self.make("std_msgs/msg/String", data=text)

    def image(self, image: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
        """sensor_msgs/Image, rgb8, of (H, W, 3) uint8 RGB."""
        height, width = image.shape[:2]
        return self.make(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_ns, frame_id),
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=array.array("B", np.ascontiguousarray(image).tobytes()),
        )

    def compressed_image(self, image: np.ndarray, kind: str, stamp_ns: int, frame_id: str) -> Any:
        """sensor_msgs/CompressedImage of (H, W, 3) uint8 RGB; `kind` "png" (lossless) or "jpeg"."""
        return self.make(
            "sensor_msgs/msg/CompressedImage",
            header=self.header(stamp_ns, frame_id),
            format=f"rgb8; {kind} compressed bgr8",
            data=array.array("B", encode_compressed(image, kind)),
        )

    def camera_info(self, camera: CameraModel, stamp_ns: int, frame_id: str) -> Any:
        """sensor_msgs/CameraInfo of a rectified camera: no distortion, P as it is, K its left 3x3."""
        projection = np.asarray(camera.img_P_cam, dtype=np.float64)
        return self.make(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(stamp_ns, frame_id),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=array.array("d", [0.0] * 5),
            k=projection[:, :3].ravel(),
            r=np.eye(3).ravel(),
            p=projection.ravel(),
        )

    def point_fields(self) -> list[Any]:
        """The sensor_msgs/PointField of `point_cloud`."""
        return [
            self.make("sensor_msgs/msg/PointField", name=name, offset=4 * index, datatype=FLOAT32, count=1)
            for index, name in enumerate(POINT_FIELDS)
        ]

    def point_cloud(self, points_lidar: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
        """sensor_msgs/PointCloud2 of (N, 4) float32 x, y, z, intensity."""
        points = np.ascontiguousarray(points_lidar, dtype="<f4")
        return self.make(
            "sensor_msgs/msg/PointCloud2",
            header=self.header(stamp_ns, frame_id),
            height=1,
            width=len(points),
            fields=self.point_fields(),
            is_bigendian=False,
            point_step=16,
            row_step=16 * len(points),
            data=array.array("B", points.tobytes()),
            is_dense=True,
        )

    def point(self, xyz: np.ndarray, name: str = "geometry_msgs/msg/Point") -> Any:
        """geometry_msgs/Point (or Vector3)."""
        return self.make(name, x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))

    def vector(self, xyz: np.ndarray) -> Any:
        """geometry_msgs/Vector3."""
        return self.point(xyz, "geometry_msgs/msg/Vector3")

    def quaternion(self, rotation: np.ndarray) -> Any:
        """geometry_msgs/Quaternion of a (3, 3) rotation."""
        x, y, z, w = (float(value) for value in quaternion_from_rotation(rotation))
        return self.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def pose(self, position: np.ndarray, rotation: np.ndarray) -> Any:
        """geometry_msgs/Pose."""
        return self.make("geometry_msgs/msg/Pose", position=self.point(position), orientation=self.quaternion(rotation))

    def transform(self, parent_T_child: np.ndarray, parent: str, child: str, stamp_ns: int) -> Any:
        """tf2_msgs/TFMessage with one transform: the pose (4, 4) of `child` in `parent`."""
        transform = self.make(
            "geometry_msgs/msg/Transform",
            translation=self.vector(parent_T_child[:3, 3]),
            rotation=self.quaternion(parent_T_child[:3, :3]),
        )
        stamped = self.make(
            "geometry_msgs/msg/TransformStamped",
            header=self.header(stamp_ns, parent),
            child_frame_id=child,
            transform=transform,
        )
        return self.make("tf2_msgs/msg/TFMessage", transforms=[stamped])

    def box(self, center: np.ndarray, rotation: np.ndarray, size: np.ndarray) -> Any:
        """vision_msgs/BoundingBox3D: geometric centre (3,), axes (3, 3), and size (3,) along them, m."""
        return self.make("vision_msgs/msg/BoundingBox3D", center=self.pose(center, rotation), size=self.vector(size))

    def detection(
        self, header: Any, class_name: str, score: float, box: Any, covariance: np.ndarray | None = None
    ) -> Any:
        """vision_msgs/Detection3D with one hypothesis; `covariance` (6, 6) of the pose, zero when not given."""
        covariance = np.zeros((6, 6)) if covariance is None else covariance
        pose = self.make(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=box.center,
            covariance=np.asarray(covariance, dtype=np.float64).ravel(),
        )
        hypothesis = self.make("vision_msgs/msg/ObjectHypothesis", class_id=class_name, score=float(score))
        result = self.make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=pose)
        return self.make("vision_msgs/msg/Detection3D", header=header, results=[result], bbox=box, id="")

    def ground_truth(self, labels: Labels3D, stamp_ns: int, frame_id: str) -> Any:
        """vision_msgs/Detection3DArray of labels in the lidar frame; score 1 where they have none."""
        header = self.header(stamp_ns, frame_id)
        scores = np.ones(len(labels)) if labels.scores is None else labels.scores
        detections = [
            self.detection(header, name, score, self.box(box[:3], rotation_about_z(box[6]), box[3:6]))
            for name, score, box in zip(labels.class_names, scores, labels.boxes_lidar)
        ]
        return self.make("vision_msgs/msg/Detection3DArray", header=header, detections=detections)
