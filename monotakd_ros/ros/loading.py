"""The network of the detector node: loaded, on its device, and warm before the first image. No ROS."""

from __future__ import annotations

import numpy as np
import torch

from monotakd_ros.config import InputConfig
from monotakd_ros.detector import Detector
from monotakd_ros.errors import CheckpointError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.device import device_asked_for
from monotakd_ros.shipped import checkpoint_path, default_checkpoint

OFFICIAL_FOCAL_PX = 721.5
"""KITTI's, for networks that take images as they are."""


def load_detector(settings: DetectorSettings) -> tuple[Detector, CheckpointName]:
    """The detector that the settings ask for.

    Raises:
        CheckpointError: no such weights, damaged ones, or a network that needs a LiDAR.
        ConfigError: the device is not there, or no weights of that name are shipped.
    """
    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    path = checkpoint_path(settings.checkpoint) if settings.checkpoint else default_checkpoint()
    device = device_asked_for(settings.device)
    detector = Detector.from_checkpoint(path, device, settings.amp)  # type: ignore[arg-type]
    if detector.needs_cloud:
        raise CheckpointError(f"{path}: expected a student, which needs a camera only; this network needs a LiDAR")
    return detector, CheckpointName.of(path)


def warm_up(detector: Detector, batch: int) -> None:
    """Run grey images through, one and `batch` of them, so that the first real one waits for nothing."""
    frame = Frame("warm-up", 0, *_grey_image(detector.config.student.input), cam_T_lidar=nominal_cam_T_lidar())
    for count in sorted({1, batch}):
        detector.detect_batch([frame] * count)


def _grey_image(taken: InputConfig) -> tuple[np.ndarray, CameraModel]:
    """An image of a camera such as training saw, so that nothing is noted about it."""
    scale = sum(taken.trained_scale or (1.0, 1.0)) / 2
    width, height = round(taken.width / scale), round(taken.height / scale)
    center_px = taken.center_px or (taken.width / 2, taken.height / 2)
    focal_px = (taken.focal_px or OFFICIAL_FOCAL_PX) / scale
    camera = CameraModel.from_intrinsics(focal_px, focal_px, *(value / scale for value in center_px), width, height)
    return np.full((height, width, 3), 128, dtype=np.uint8), camera
