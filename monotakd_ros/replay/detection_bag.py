"""The bag that a replay writes: what a live detector would publish, at the images' own stamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monotakd_ros.data.bag_writer import CAMERA_INFO_TOPIC, IMAGE_TOPIC, POINTS_TOPIC, BagFile
from monotakd_ros.data.detections_to_msg import DetectionMessages
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.geometry.transforms import invert_transform
from monotakd_ros.visualization.palette import class_colour

DETECTIONS_TOPIC = "/detections"
MARKERS_TOPIC = "/markers"
LABEL_INFO_TOPIC = "/label_info"
TF_STATIC_TOPIC = "/tf_static"


class DetectionBag:
    """A rosbag2 (MCAP) of detections. Boxes stand in the camera's optical frame, the frame of the image.

    Args:
        folder: must not exist yet.
        class_names: of the detector, in label order.
        threshold: lowest score that the detector hands out.
        images: whether to add the images, as JPEG.
        points: whether to add the LiDAR clouds, where the source has them.
    """

    def __init__(
        self, folder: Path, class_names: tuple[str, ...], threshold: float, images: bool, points: bool
    ) -> None:
        self._bag = BagFile(folder)
        self._messages = DetectionMessages(bag_message_types())
        self._class_names, self._threshold = class_names, threshold
        self._images, self._points = images, points
        self._extrinsics: dict[tuple[str, str], np.ndarray] = {}

    def write(self, frame: Frame, detections: Detections3D, shown: Detections3D) -> None:
        """Append one frame: all `detections` as an array (empty for none), those `shown` as markers too."""
        stamp_ns, camera = frame.stamp_ns, frame.camera_frame_id
        self._describe(frame, detections)
        info = self._messages.camera_info(frame.camera, stamp_ns, camera)
        self._bag.write(CAMERA_INFO_TOPIC, info, stamp_ns)
        if self._images:
            image = self._messages.compressed_image(frame.image, "jpeg", stamp_ns, camera)
            self._bag.write(f"{IMAGE_TOPIC}/compressed", image, stamp_ns)
        if self._points and frame.points_lidar is not None:
            # At the image's stamp: a bag must not step back in time when the cloud is some ms older.
            cloud = self._messages.point_cloud(frame.points_lidar, stamp_ns, frame.lidar_frame_id)
            self._bag.write(POINTS_TOPIC, cloud, stamp_ns)
        self._bag.write(DETECTIONS_TOPIC, self._messages.detections(detections, stamp_ns, camera), stamp_ns)
        markers = self._messages.markers(shown, stamp_ns, camera, class_colour)
        self._bag.write(MARKERS_TOPIC, markers, stamp_ns)

    def close(self) -> None:
        """Finish the bag."""
        self._bag.close()

    def abort(self) -> None:
        """Give the bag up."""
        self._bag.abort()

    def _describe(self, frame: Frame, detections: Detections3D) -> None:
        """Class names and static transforms, when they are new."""
        if not self._extrinsics:
            info = self._messages.label_info(self._class_names, self._threshold, frame.stamp_ns, frame.camera_frame_id)
            self._bag.write(LABEL_INFO_TOPIC, info, frame.stamp_ns, latched=True)
        cam_T_lidar = detections.cam_T_lidar if frame.cam_T_lidar is None else frame.cam_T_lidar
        frames = (frame.lidar_frame_id, frame.camera_frame_id)
        if frames not in self._extrinsics or not np.array_equal(self._extrinsics[frames], cam_T_lidar):
            self._extrinsics[frames] = cam_T_lidar
            message = self._messages.transform(invert_transform(cam_T_lidar), *frames, frame.stamp_ns)
            self._bag.write(TF_STATIC_TOPIC, message, frame.stamp_ns, latched=True)
