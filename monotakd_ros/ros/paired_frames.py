"""A live image and its cloud as one frame, placed by tf or a calibration file, as bags are read. No ROS import."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from monotakd_ros.data.bag_geometry import placement_of
from monotakd_ros.data.from_msg import points_from_msg, stamp_ns_from_msg
from monotakd_ros.data.transform_tree import frame_name
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.transforms import transform_points
from monotakd_ros.ros.live_frames import LiveFrames

logger = logging.getLogger(__name__)

Lookup = Callable[[str, str, int], np.ndarray]
"""target, source, stamp ns -> target_T_source (4, 4); raises CalibrationError."""
WAIT_FOR_WORLD_NS = 5_000_000_000
"""After a failed lookup of the world frame the next one is so much later: each waits for tf in vain."""


class PairedFrames:
    """Makes frames of images and clouds.

    Args:
        images: makes the camera's part.
        points_topic: for messages.
        lookup: tf.
        calibrated: cam_T_lidar (4, 4) that counts instead of tf's; None for tf.
        world_frame: in which the vehicle moves; empty for none.

    Attributes:
        has_world: whether the last frame has a pose.
    """

    def __init__(
        self, images: LiveFrames, points_topic: str, lookup: Lookup, calibrated: np.ndarray | None, world_frame: str
    ) -> None:
        self.images = images
        self._points_topic, self._lookup = points_topic, lookup
        self._calibrated, self._world_frame = calibrated, world_frame
        self._no_world_until_ns = 0
        self.has_world = False

    def frame(self, image: Any, cloud: Any) -> Frame:
        """The frame of a sensor_msgs Image or CompressedImage and a PointCloud2.

        Raises:
            FrameError: no CameraInfo yet, or image or cloud is bad.
            CalibrationError: the camera is not calibrated, or tf does not know where the LiDAR is.
        """
        frame = self.images.frame(image, lambda camera_frame, stamp_ns: None)
        stamp_ns = stamp_ns_from_msg(cloud.header.stamp)
        where = f"{self._points_topic}, stamp {stamp_ns} ns"
        cloud_frame = frame_name(cloud.header.frame_id)
        if not cloud_frame:
            raise FrameError(f"{where}: expected a frame_id, got an empty one")
        cam_T_cloud = self._calibrated
        if cam_T_cloud is None:
            cam_T_cloud = self._lookup(frame.camera_frame_id, cloud_frame, frame.stamp_ns)
        placement = placement_of(cloud_frame, cam_T_cloud, self._world_T(cloud_frame, frame.stamp_ns))
        points = points_from_msg(cloud, where)
        if placement.lidar_T_cloud is not None:
            points[:, :3] = transform_points(placement.lidar_T_cloud, points[:, :3])
        return replace(
            frame,
            cam_T_lidar=placement.cam_T_lidar,
            points_lidar=points,
            points_stamp_ns=stamp_ns,
            lidar_frame_id=placement.lidar_frame_id,
            world_T_lidar=placement.world_T_lidar,
        )

    def forget(self) -> None:
        """Time jumped back."""
        self._no_world_until_ns = 0

    def _world_T(self, cloud_frame: str, stamp_ns: int) -> np.ndarray | None:
        self.has_world = False
        if not self._world_frame or stamp_ns < self._no_world_until_ns:
            return None
        try:
            pose = self._lookup(self._world_frame, cloud_frame, stamp_ns)
        except CalibrationError as error:
            if not self._no_world_until_ns:
                logger.warning("no motion of the vehicle, so the picture has to change for a frame: %s", error)
            self._no_world_until_ns = stamp_ns + WAIT_FOR_WORLD_NS
            return None
        self._no_world_until_ns = 0
        self.has_world = True
        return pose
