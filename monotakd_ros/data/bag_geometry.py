"""Where camera, LiDAR and world are in a bag: tf, refined by our own text where there is one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.data.frame_text import FrameText
from monotakd_ros.data.from_msg import odometry_from_msg, transforms_from_msg
from monotakd_ros.data.transform_tree import MAX_SAMPLES, TransformTree
from monotakd_ros.errors import CalibrationError
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar

logger = logging.getLogger(__name__)

TEXT_TOLERANCE = 1e-5
"""The text's matrices count only while they agree with tf to this; then they only add digits."""
VIRTUAL_LIDAR_FRAME = "virtual_lidar"


@dataclass(frozen=True, eq=False)
class Placement:
    """Where things are at an image's time.

    Attributes:
        lidar_frame_id: name of the frame `lidar`.
        cam_T_lidar: (4, 4); None when the bag does not say.
        world_T_lidar: (4, 4); None when the bag does not say.
        lidar_T_cloud: (4, 4) from the cloud's own frame; None when that is the lidar frame.
    """

    lidar_frame_id: str
    cam_T_lidar: np.ndarray | None
    world_T_lidar: np.ndarray | None
    lidar_T_cloud: np.ndarray | None = None


class BagGeometry:
    """Collects a bag's transforms and answers where things are.

    Args:
        path: of the bag, for messages.
        max_samples: see `TransformTree`.
    """

    def __init__(self, path: Path, max_samples: int | None = MAX_SAMPLES) -> None:
        self._path = path
        self._tree = TransformTree(max_samples)
        self._warned: set[str] = set()

    def add(self, message: Any, is_static: bool) -> None:
        """Add a tf2_msgs/TFMessage or nav_msgs/Odometry; one with a broken quaternion is left out, with a warning."""
        try:
            edges = transforms_from_msg(message) if hasattr(message, "transforms") else [odometry_from_msg(message)]
            for parent, child, parent_T_child, stamp_ns in edges:
                self._tree.add(parent, child, parent_T_child, stamp_ns, is_static)
        except CalibrationError as error:
            self.warn_once(f"{error}; left out")

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray | None:
        """target_T_source (4, 4) from tf; None when the frames are not connected then."""
        return self._tree.lookup(target, source, stamp_ns)

    def place(
        self,
        camera_frame: str,
        lidar_frame: str | None,
        stamp_ns: int,
        text: FrameText | None,
        calibrated: np.ndarray | None = None,
    ) -> Placement:
        """Camera and LiDAR at a time. A `calibrated` extrinsic (4, 4) counts instead of tf's and the text's.

        A cloud in axes that do not have z up (a depth camera's optical frame) cannot be the `lidar` frame, in which
        boxes stand: a virtual one is put where KITTI's LiDAR would be, and the cloud is carried there.
        """
        cam_T_lidar = world_T_lidar = None
        if lidar_frame is not None:
            cam_T_lidar = self._tree.lookup(camera_frame, lidar_frame, stamp_ns)
            world = self._tree.world_of(lidar_frame)
            world_T_lidar = self._tree.lookup(world, lidar_frame, stamp_ns) if world else None
        if text is not None:
            cam_T_lidar = self._refined(cam_T_lidar, text.cam_T_lidar, "camera and LiDAR")
            world_T_lidar = self._refined(world_T_lidar, text.world_T_lidar, "world and LiDAR")
        cam_T_lidar = cam_T_lidar if calibrated is None else calibrated
        placement = placement_of(lidar_frame or "lidar", cam_T_lidar, world_T_lidar)
        if placement.lidar_T_cloud is not None:
            self.warn_once(f"{lidar_frame} has no upright z axis: its points are moved to a virtual LiDAR frame")
        return placement

    def warn_once(self, text: str) -> None:
        """Log a warning about this bag, the first time only."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s: %s", self._path, text)

    def _refined(self, from_tf: np.ndarray | None, exact: np.ndarray | None, what: str) -> np.ndarray | None:
        if from_tf is None or exact is None:
            return from_tf if exact is None else exact
        if np.allclose(from_tf, exact, rtol=0, atol=TEXT_TOLERANCE):
            return exact
        self.warn_once(f"tf and text differ about {what}; tf is used")
        return from_tf


def placement_of(cloud_frame: str, cam_T_cloud: np.ndarray | None, world_T_cloud: np.ndarray | None) -> Placement:
    """Where a cloud's frame (4, 4 each) puts the `lidar` frame: there, or, without z up, at a virtual LiDAR."""
    if cam_T_cloud is None or _has_z_up(cam_T_cloud):
        return Placement(cloud_frame, cam_T_cloud, world_T_cloud)
    cam_T_lidar = nominal_cam_T_lidar()
    lidar_T_cloud = np.linalg.inv(cam_T_lidar) @ cam_T_cloud
    world_T_lidar = None if world_T_cloud is None else world_T_cloud @ np.linalg.inv(lidar_T_cloud)
    return Placement(VIRTUAL_LIDAR_FRAME, cam_T_lidar, world_T_lidar, lidar_T_cloud)


def _has_z_up(cam_T_lidar: np.ndarray) -> bool:
    """Whether the lidar's z axis points up in the image (cam's y points down), give or take 60 degrees."""
    return bool(cam_T_lidar[1, 2] < -0.5)
