"""A rosbag2 (MCAP storage, chunks compressed with zstd) from frames, readable by any ROS 2 since Humble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from monotakd_ros.data.detections_to_msg import DetectionMessages
from monotakd_ros.data.frame_text import text_of_frame
from monotakd_ros.data.frame_writers import FolderWriter, ImageEncoding
from monotakd_ros.data.kitti_text import text_from_labels
from monotakd_ros.data.message_types import bag_message_types, bag_typestore
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.transforms import invert_transform, nominal_cam_T_lidar

METADATA_VERSION = 8
"""Version 9 writes QoS in a way that Humble cannot read."""

IMAGE_TOPIC = "/camera/image_rect"
CAMERA_INFO_TOPIC = "/camera/camera_info"
POINTS_TOPIC = "/lidar/points"
GROUND_TRUTH_TOPIC = "/ground_truth"
LABEL_TEXT_TOPIC = "/ground_truth/kitti"
"""std_msgs/String, KITTI label text: truncation, occlusion, 2D boxes and DontCare, which Detection3D cannot hold."""
FRAME_TEXT_TOPIC = "/calibration/kitti"
"""std_msgs/String, see `frame_text.py`."""
WORLD_FRAME_ID = "map"

_FOREVER = QosTime(9223372036, 854775807)
"""What rmw means by infinite (RMW_DURATION_INFINITE)."""
LATCHED = Qos(
    history=QosHistory.KEEP_LAST,
    depth=1,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.TRANSIENT_LOCAL,
    deadline=_FOREVER,
    lifespan=_FOREVER,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=_FOREVER,
    avoid_ros_namespace_conventions=False,
)
"""For messages that late subscribers must still get: static transforms, label info."""


class BagFile:
    """Typed messages into a rosbag2 folder; topics appear with their first message.

    Args:
        folder: must not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._store = bag_typestore()
        self._writer = Writer(folder, version=METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._connections: dict[str, Connection] = {}

    def add_topic(self, topic: str, type_name: str, latched: bool = False) -> None:
        """Declare a topic; needed for one that may stay without messages."""
        if topic not in self._connections:
            qos = (LATCHED,) if latched else ()
            self._connections[topic] = self._writer.add_connection(
                topic, type_name, typestore=self._store, offered_qos_profiles=qos
            )

    def write(self, topic: str, message: Any, stamp_ns: int, latched: bool = False) -> None:
        """Append one message at `stamp_ns`."""
        type_name = message.__msgtype__
        self.add_topic(topic, type_name, latched)
        self._writer.write(self._connections[topic], stamp_ns, self._store.serialize_cdr(message, type_name))

    def close(self) -> None:
        """Write the index and `metadata.yaml`."""
        self._writer.close()

    def abort(self) -> None:
        """Close the file without an index."""
        self._writer.abort()


class BagFrameWriter(FolderWriter):
    """Writes frames as camera, LiDAR, tf and ground truth topics."""

    def __init__(self, out: Path | str, overwrite: bool, image_encoding: ImageEncoding) -> None:
        super().__init__(out, overwrite)
        self._image_encoding = image_encoding
        self._messages = DetectionMessages(bag_message_types())
        self._extrinsics: tuple[str, str, np.ndarray] | None = None

    def _open(self, folder: Path) -> None:
        self._bag = BagFile(folder)

    def _finish(self) -> None:
        self._bag.close()

    def _abort(self) -> None:
        self._bag.abort()

    def _write(self, frame: Frame) -> None:
        self._write_transforms(frame)
        self._write_camera(frame)
        if frame.points_lidar is not None:
            stamp_ns = frame.stamp_ns if frame.points_stamp_ns is None else frame.points_stamp_ns
            cloud = self._messages.point_cloud(frame.points_lidar, stamp_ns, frame.lidar_frame_id)
            self._bag.write(POINTS_TOPIC, cloud, stamp_ns)
        if frame.labels is not None:
            self._write_labels(frame)

    def _write_camera(self, frame: Frame) -> None:
        where = (frame.stamp_ns, frame.camera_frame_id)
        info = self._messages.camera_info(frame.camera, *where)
        self._bag.write(CAMERA_INFO_TOPIC, info, frame.stamp_ns)
        if self._image_encoding == "raw":
            self._bag.write(IMAGE_TOPIC, self._messages.image(frame.image, *where), frame.stamp_ns)
        else:
            image = self._messages.compressed_image(frame.image, self._image_encoding, *where)
            self._bag.write(f"{IMAGE_TOPIC}/compressed", image, frame.stamp_ns)
        self._bag.write(FRAME_TEXT_TOPIC, self._messages.string(text_of_frame(frame)), frame.stamp_ns)

    def _write_transforms(self, frame: Frame) -> None:
        if frame.cam_T_lidar is not None:
            self._write_extrinsics(frame)
        if frame.world_T_lidar is not None:
            message = self._messages.transform(
                frame.world_T_lidar, WORLD_FRAME_ID, frame.lidar_frame_id, frame.stamp_ns
            )
            self._bag.write("/tf", message, frame.stamp_ns)

    def _write_extrinsics(self, frame: Frame) -> None:
        extrinsics = (frame.lidar_frame_id, frame.camera_frame_id, frame.cam_T_lidar)
        known = self._extrinsics
        if known is not None and known[:2] == extrinsics[:2] and np.array_equal(known[2], extrinsics[2]):
            return
        self._extrinsics = extrinsics
        message = self._messages.transform(
            invert_transform(frame.cam_T_lidar), frame.lidar_frame_id, frame.camera_frame_id, frame.stamp_ns
        )
        self._bag.write("/tf_static", message, frame.stamp_ns, latched=True)

    def _write_labels(self, frame: Frame) -> None:
        message = self._messages.ground_truth(frame.labels, frame.stamp_ns, frame.lidar_frame_id)
        self._bag.write(GROUND_TRUTH_TOPIC, message, frame.stamp_ns)
        cam_T_lidar = nominal_cam_T_lidar() if frame.cam_T_lidar is None else frame.cam_T_lidar
        text = text_from_labels(frame.labels, cam_T_lidar)
        self._bag.write(LABEL_TEXT_TOPIC, self._messages.string(text), frame.stamp_ns)
