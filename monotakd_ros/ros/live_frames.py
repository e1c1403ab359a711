"""One live camera's messages as frames: the newest CameraInfo, checked against every image. No ROS import."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from monotakd_ros.data.camera_frames import CameraRectifier, Rectify
from monotakd_ros.data.camera_info import CameraInfo
from monotakd_ros.data.from_msg import camera_info_from_msg, stamp_ns_from_msg
from monotakd_ros.data.transform_tree import frame_name
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.frame import Frame
from monotakd_ros.ros.image_decoding import Decode

logger = logging.getLogger(__name__)


class LiveFrames:
    """Makes frames of one camera's messages.

    Args:
        topic: of the images, for messages; its name tells whether they are rectified.
        already_rectified: see `CameraRectifier`.
        rectify: see `CameraRectifier`.
        decode: pixels of an image message.
    """

    def __init__(self, topic: str, already_rectified: bool, rectify: Rectify, decode: Decode) -> None:
        self._topic, self._decode = topic, decode
        self._rectifier = CameraRectifier(rectify, already_rectified)
        self._info: tuple[CameraInfo, str] | None = None

    @property
    def has_camera_info(self) -> bool:
        """Whether a CameraInfo came."""
        return self._info is not None

    def take_camera_info(self, message: Any) -> bool:
        """Take a sensor_msgs/CameraInfo; returns whether it changes what an earlier one said."""
        info, frame_id = camera_info_from_msg(message), frame_name(message.header.frame_id)
        known = self._info
        if known is not None and known[1] == frame_id and known[0].same_as(info):
            return False
        self._info = info, frame_id
        return known is not None

    def frame(self, message: Any, cam_T_lidar_of: Callable[[str, int], np.ndarray | None]) -> Frame:
        """The frame of a sensor_msgs Image or CompressedImage.

        Args:
            message: the image.
            cam_T_lidar_of: the extrinsic (4, 4) by camera frame and stamp, ns; None for a nominal mount.

        Raises:
            FrameError: no CameraInfo yet, damaged pixels, or CameraInfo is of another frame or size.
            CalibrationError: the camera is not calibrated, or tf does not know the mount.
        """
        stamp_ns = stamp_ns_from_msg(message.header.stamp)
        where = f"{self._topic}, stamp {stamp_ns} ns"
        if self._info is None:
            raise FrameError(f"{where}: no CameraInfo yet")
        info, info_frame = self._info
        camera_frame = frame_name(message.header.frame_id) or info_frame or "camera"
        if info_frame and info_frame != camera_frame:
            raise CalibrationError(
                f"{where}: the image is of frame {camera_frame!r}, its CameraInfo of {info_frame!r}: is camera_info "
                "remapped to this camera's?"
            )
        image = self._decode(message, where)
        rectifier = self._rectifier.rectifier(info, image, where)
        return Frame(
            name=str(stamp_ns),
            stamp_ns=stamp_ns,
            image=rectifier.apply(image),
            camera=rectifier.camera,
            camera_frame_id=camera_frame,
            cam_T_lidar=cam_T_lidar_of(camera_frame, stamp_ns),
        )
