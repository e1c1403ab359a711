"""KITTI raw drives (synced and rectified) as a source of frames: camera 2, its cloud, and the ego pose from GPS/IMU.

`cam` is KITTI's rectified camera 0, as in the object benchmark: img_P_cam = P_rect_02 as it is, cam_T_lidar =
R_rect_00 with the calibration of LiDAR to camera 0. world_T_lidar follows the raw devkit (`convertOxtsToPose`):
Mercator projection at the latitude of the drive's first packet, world = the IMU at that packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from monotakd_ros.data.kitti import read_image, read_labels, read_velodyne
from monotakd_ros.data.kitti_text import matrices_from_text, matrix
from monotakd_ros.data.source import DEFAULT_OPTIONS, OnError, SourceOptions, skip_bad_frames
from monotakd_ros.errors import CalibrationError, FrameError, SourceError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import invert_transform, make_transform

EARTH_RADIUS_M = 6378137.0
LABEL_FOLDER = "label_02_object_format"
"""Labels per frame in the object benchmark's text format; not part of the original data."""


def find_raw_drives(path: Path) -> list[Path]:
    """The drives at `path`: itself, or the ones in a date folder."""
    if (path / "image_02" / "data").is_dir():
        return [path]
    return sorted(item.parent.parent for item in path.glob("*/image_02/data") if item.is_dir())


class KittiRawDrive:
    """A raw drive, e.g. `2011_09_26/2011_09_26_drive_0005_sync`, with the calibration files in its parent.

    Args:
        path: the drive, or a date folder that holds one.
        options: `label_dir` of labels other than the drive's own.

    Raises:
        SourceError: no drive or several, no images, no stamps.
        CalibrationError: a calibration file is missing or malformed.
    """

    def __init__(self, path: Path | str, options: SourceOptions = DEFAULT_OPTIONS) -> None:
        self.path = _single_drive(Path(path))
        self.name = self.path.resolve().name
        self._labels = options.label_dir or self.path / LABEL_FOLDER
        images = sorted((self.path / "image_02" / "data").glob("*.png"))
        if not images:
            raise SourceError(f"{self.path / 'image_02' / 'data'}: expected images (*.png), found none")
        self._images = images
        self._img_P_cam, self._cam_T_lidar = _read_camera_calibration(self.path.parent)
        self._stamps = _read_stamps(self.path / "image_02")
        self._cloud_stamps = _read_stamps(self.path / "velodyne_points", required=False)
        self._poses = _read_poses(self.path)

    def __len__(self) -> int:
        return len(self._images)

    def frames(self, on_error: OnError | None = None) -> Iterator[Frame]:
        """Yield the frames; see `FrameSource.frames`."""
        return skip_bad_frames(self._attempts(), self.path, on_error)

    def close(self) -> None:
        """Nothing stays open between frames."""

    def _attempts(self) -> Iterator[Frame | FrameError]:
        for path in self._images:
            try:
                yield self._frame(path)
            except FrameError as error:
                yield error

    def _frame(self, path: Path) -> Frame:
        name = path.stem
        if name not in self._stamps:
            raise FrameError(f"{path}: no stamp in {path.parent.parent / 'timestamps.txt'}")
        stamp_ns = self._stamps[name]
        image = read_image(path)
        points_lidar = read_velodyne(self.path / "velodyne_points" / "data" / f"{name}.bin")
        return Frame(
            name=name,
            stamp_ns=stamp_ns,
            image=image,
            camera=CameraModel(self._img_P_cam, image.shape[1], image.shape[0]),
            camera_frame_id="camera_rect0",
            cam_T_lidar=self._cam_T_lidar,
            points_lidar=points_lidar,
            points_stamp_ns=None if points_lidar is None else self._cloud_stamps.get(name, stamp_ns),
            lidar_frame_id="velo_link",
            labels=read_labels(self._labels / f"{name}.txt", self._cam_T_lidar),
            world_T_lidar=self._poses.get(name),
        )


def poses_from_oxts(packets: np.ndarray) -> np.ndarray:
    """world_T_imu (N, 4, 4) of GPS/IMU packets (N, >= 6): latitude, longitude deg, altitude m, roll, pitch, yaw rad.

    Source: KITTI raw devkit, `convertOxtsToPose`; world is the first packet's pose.
    """
    scale = np.cos(np.radians(packets[0, 0]))
    latitude, longitude = np.radians(packets[:, 0]), np.radians(packets[:, 1])
    x = scale * EARTH_RADIUS_M * longitude
    y = scale * EARTH_RADIUS_M * np.log(np.tan(0.25 * np.pi + 0.5 * latitude))
    positions = np.stack([x, y, packets[:, 2]], axis=1)
    mercator_T_imu = [
        make_transform(_rotation(*angles), position) for angles, position in zip(packets[:, 3:6], positions)
    ]
    world_T_mercator = invert_transform(mercator_T_imu[0])
    return np.stack([world_T_mercator @ pose for pose in mercator_T_imu])


def _rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _single_drive(path: Path) -> Path:
    drives = find_raw_drives(path)
    if not drives:
        raise SourceError(f"{path}: expected a raw drive (image_02/data), or a date folder that holds one")
    if len(drives) > 1:
        raise SourceError(f"{path}: holds {len(drives)} drives, give one: {', '.join(drive.name for drive in drives)}")
    return drives[0]


def _read_matrices(path: Path) -> dict[str, np.ndarray]:
    try:
        return matrices_from_text(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: cannot read the calibration: {error}") from error


def _read_rigid(path: Path) -> np.ndarray:
    matrices = _read_matrices(path)
    return make_transform(matrix(matrices, "R", (3, 3), str(path)), matrix(matrices, "T", (3,), str(path)))


def _read_camera_calibration(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """img_P_cam (3, 4) and cam_T_lidar (4, 4)."""
    path = folder / "calib_cam_to_cam.txt"
    cameras = _read_matrices(path)
    rectification = make_transform(matrix(cameras, "R_rect_00", (3, 3), str(path)), np.zeros(3))
    cam0_T_lidar = _read_rigid(folder / "calib_velo_to_cam.txt")
    return matrix(cameras, "P_rect_02", (3, 4), str(path)), rectification @ cam0_T_lidar


def _read_stamps(folder: Path, required: bool = True) -> dict[str, int]:
    """Stamp in ns of each data file's name.

    A file has one line per recorded frame, from frame 0 on; where data files were cut out together with their lines,
    both lists have the same length.
    """
    path = folder / "timestamps.txt"
    if not path.is_file() and not required:
        return {}
    try:
        stamps_ns = [_stamp_ns(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: expected one date and time a line: {error}") from error
    names = sorted(item.stem for item in (folder / "data").glob("*"))
    if len(names) == len(stamps_ns):
        return dict(zip(names, stamps_ns))
    return {f"{index:010d}": stamp_ns for index, stamp_ns in enumerate(stamps_ns)}


def _stamp_ns(text: str) -> int:
    """Nanoseconds since 1970 of "2011-09-26 13:04:32.345808896", taken as UTC."""
    seconds, _, fraction = text.strip().partition(".")
    moment = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


def _read_poses(drive: Path) -> dict[str, np.ndarray]:
    """world_T_lidar of each frame; empty without GPS/IMU data or its calibration."""
    files = sorted((drive / "oxts" / "data").glob("*.txt"))
    calibration = drive.parent / "calib_imu_to_velo.txt"
    if not files or not calibration.is_file():
        return {}
    try:
        packets = np.array([[float(word) for word in file.read_text().split()[:6]] for file in files])
    except (OSError, ValueError) as error:
        raise SourceError(f"{drive / 'oxts' / 'data'}: expected packets of numbers: {error}") from error
    if packets.ndim != 2 or packets.shape[1] != 6:
        raise SourceError(f"{drive / 'oxts' / 'data'}: expected at least 6 numbers a packet")
    imu_T_lidar = invert_transform(_read_rigid(calibration))
    poses = poses_from_oxts(packets) @ imu_T_lidar
    return {file.stem: pose for file, pose in zip(files, poses)}
