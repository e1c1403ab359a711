"""Images, cameras and clouds of a KITTI object folder, read for the few frames that are shown."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from monotakd_ros.data.kitti import read_calibration, read_image, read_velodyne
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.report.gathered import Scenes, no_scenes

logger = logging.getLogger(__name__)


def kitti_scenes(folder: Path) -> Scenes:
    """Scenes of a folder with `image_2` and `calib`, and `velodyne` if there is one; none where either is absent.

    A frame that cannot be read is left out, with a line in the log.
    """
    if not (folder / "image_2").is_dir() or not (folder / "calib").is_dir():
        return no_scenes

    def scenes(names: Collection[str]) -> Mapping[str, Frame]:
        found = {name: _frame(folder, name) for name in names}
        return {name: frame for name, frame in found.items() if frame is not None}

    return scenes


def _frame(folder: Path, name: str) -> Frame | None:
    images = [folder / "image_2" / f"{name}{suffix}" for suffix in (".png", ".jpg")]
    image_path = next((path for path in images if path.is_file()), None)
    calibration = folder / "calib" / f"{name}.txt"
    if image_path is None or not calibration.is_file():
        return None
    try:
        image = read_image(image_path)
        img_P_cam, cam_T_lidar = read_calibration(calibration)
        points_lidar = None if cam_T_lidar is None else read_velodyne(folder / "velodyne" / f"{name}.bin")
        camera = CameraModel(img_P_cam, image.shape[1], image.shape[0])
    except (FrameError, CalibrationError) as error:
        logger.warning("%s; the frame is not shown", error)
        return None
    return Frame(name, 0, image, camera, cam_T_lidar=cam_T_lidar, points_lidar=points_lidar)
