"""What our bags say about a frame in text, beside the ROS messages: its name, and matrices with all their digits.

The format is KITTI's calibration file with three more keys. tf's quaternions cannot hold KITTI's matrices, whose
rotations are rounded and thus not quite orthonormal; with the text, conversion loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.data.kitti_text import calibration_text, format_matrix, matrices_from_text, rigid, words_from_text
from monotakd_ros.frame import Frame

_NAME = "frame"
_LIDAR_FRAME = "lidar_frame_id"
_EXTRINSIC = "Tr_velo_to_cam"
_POSE = "world_T_lidar"


@dataclass(frozen=True, eq=False)
class FrameText:
    """The content of such a text; None where it is silent."""

    name: str | None
    lidar_frame_id: str | None
    cam_T_lidar: np.ndarray | None
    world_T_lidar: np.ndarray | None

    @classmethod
    def parse(cls, text: str, where: str) -> FrameText:
        """Read a text.

        Raises:
            CalibrationError: a malformed line or matrix; starts with `where`.
        """
        words, matrices = words_from_text(text), matrices_from_text(text, where)
        return cls(
            name=words.get(_NAME),
            lidar_frame_id=words.get(_LIDAR_FRAME),
            cam_T_lidar=rigid(matrices, _EXTRINSIC, where) if _EXTRINSIC in matrices else None,
            world_T_lidar=rigid(matrices, _POSE, where) if _POSE in matrices else None,
        )


def text_of_frame(frame: Frame) -> str:
    """Write a frame's text."""
    text = f"{_NAME}: {frame.name}\n{_LIDAR_FRAME}: {frame.lidar_frame_id}\n"
    text += calibration_text(frame.camera.img_P_cam, frame.cam_T_lidar)
    if frame.world_T_lidar is not None:
        text += f"{_POSE}: {format_matrix(frame.world_T_lidar[:3])}\n"
    return text
