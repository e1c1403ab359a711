"""KITTI object folders as a source of frames.

`cam` is KITTI's rectified camera 0: cam_T_lidar = R0_rect @ Tr_velo_to_cam, and img_P_cam = P2 as it is, whose
fourth column carries the baseline between cameras 0 and 2. Folders written by this package also hold
`frames.csv` and `poses.txt` (stamps, frame names, ego poses); original ones do not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from monotakd_ros.data.image_codec import decode_compressed
from monotakd_ros.data.kitti_records import FrameRecord, read_records
from monotakd_ros.data.kitti_text import labels_from_text, matrices_from_text, matrix, rigid
from monotakd_ros.data.source import DEFAULT_OPTIONS, FrameSource, OnError, SourceOptions, skip_bad_frames
from monotakd_ros.errors import CalibrationError, FrameError, LabelError, SourceError
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import make_transform, nominal_cam_T_lidar

logger = logging.getLogger(__name__)

FRAME_PERIOD_NS = 100_000_000
"""Original KITTI folders have no stamps; frames then count up at 10 Hz, from 0.1 s (ROS reads 0 as "no time")."""


def find_kitti_subset(path: Path, split: str | None = None) -> Path | None:
    """The folder that holds `image_2`: `path` itself, else its `training`, else its `testing`; None without any."""
    order = ("testing", "training") if split in ("test", "testing") else ("training", "testing")
    for folder in (path, *(path / name for name in order)):
        if (folder / "image_2").is_dir():
            return folder
    return None


class KittiFolder:
    """A KITTI object folder.

    Args:
        path: the folder that holds `image_2`, or its parent with `training` (or `testing`).
        options: `split` restricts to a list in `ImageSets`.

    Raises:
        SourceError: no images, or a list that is missing or names none of them.
        CalibrationError: an image has no calibration file.
    """

    def __init__(self, path: Path | str, options: SourceOptions = DEFAULT_OPTIONS) -> None:
        self.path = Path(path)
        subset = find_kitti_subset(self.path, options.split)
        if subset is None:
            raise SourceError(f"{self.path}: expected a folder image_2, training/image_2 or testing/image_2")
        self._subset = subset
        self._root = subset.parent if subset.name in ("training", "testing") else subset
        self.name = self.path.resolve().name
        images = {item.stem: item for item in (subset / "image_2").iterdir() if item.suffix in (".png", ".jpg")}
        names = self._listed(options.split, images) if options.split else sorted(images)
        if not names:
            raise SourceError(f"{subset / 'image_2'}: expected images (*.png), found none")
        self._require_calibrations(names)
        records = read_records(self._root)
        self.has_stamps = bool(records)
        """Whether the stamps were recorded; original KITTI folders hold none."""
        self._records = {
            name: records.get(name, FrameRecord(stamp_ns=index * FRAME_PERIOD_NS))
            for index, name in enumerate(names, start=1)
        }
        self._images = {name: images[name] for name in sorted(names, key=lambda n: (self._records[n].stamp_ns, n))}

    def __len__(self) -> int:
        return len(self._images)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the frames, in time order."""
        return tuple(self._images)

    def frames(self, on_error: OnError | None = None) -> Iterator[Frame]:
        """Yield the frames; see `FrameSource.frames`.

        Raises:
            CalibrationError: a calibration file is malformed.
            LabelError: a label file is malformed; the message names file and line.
        """
        return skip_bad_frames(self._attempts(), self.path, on_error)

    def close(self) -> None:
        """Nothing stays open between frames."""

    def _attempts(self) -> Iterator[Frame | FrameError]:
        for name in self._images:
            try:
                yield self.frame(name)
            except FrameError as error:
                yield error

    def frame(self, name: str) -> Frame:
        """Read one frame; see `FramesByName`, and `frames` for what else it raises."""
        if name not in self._images:
            raise FrameError(f"{self._subset / 'image_2'}: no frame {name!r}")
        return read_frame(self._subset, self._images[name], self._records[name])

    def _listed(self, split: str, images: dict[str, Path]) -> list[str]:
        path = self._root / "ImageSets" / f"{split}.txt"
        try:
            listed = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{path}: cannot read the list of frames: {error}") from error
        names = [name for name in listed if name in images]
        if not names:
            raise SourceError(f"{path}: lists {len(listed)} frames, none of them in {self._subset / 'image_2'}")
        if len(names) < len(listed):
            logger.warning("%s lists %d frames, %d of them are here", path, len(listed), len(names))
        return names

    def _require_calibrations(self, names: list[str]) -> None:
        missing = [name for name in names if not (self._subset / "calib" / f"{name}.txt").is_file()]
        if missing:
            raise CalibrationError(
                f"{self._subset / 'calib' / f'{missing[0]}.txt'}: no calibration for this image "
                f"({len(missing)} of {len(names)} images have none)"
            )


def read_frame(subset: Path, image_path: Path, record: FrameRecord) -> Frame:
    """Read one frame of a KITTI folder.

    Args:
        subset: the folder that holds `image_2`.
        image_path: of the frame's image, which names it.
        record: what `frames.csv` says of it.

    Raises:
        FrameError, CalibrationError, LabelError: as `KittiFolder.frames`.
    """
    name = image_path.stem
    image = read_image(image_path)
    img_P_cam, cam_T_lidar = read_calibration(subset / "calib" / f"{name}.txt")
    points_lidar = read_velodyne(subset / "velodyne" / f"{name}.bin")
    if points_lidar is not None and cam_T_lidar is None:
        raise CalibrationError(f"{subset / 'calib' / f'{name}.txt'}: no Tr_velo_to_cam, but a cloud is there")
    label_path = subset / "label_2" / f"{name}.txt"
    if cam_T_lidar is None and label_path.exists():
        cam_T_lidar = nominal_cam_T_lidar()
    labels = read_labels(label_path, cam_T_lidar)
    return recorded_frame(name, image, (img_P_cam, cam_T_lidar), points_lidar, labels, record)


def recorded_frame(
    name: str,
    image: np.ndarray,
    calibration: tuple[np.ndarray, np.ndarray | None],
    points_lidar: np.ndarray | None,
    labels: Labels3D | None,
    record: FrameRecord,
) -> Frame:
    """A frame from what KITTI's files hold.

    Args:
        name: of the frame.
        image: (H, W, 3) uint8 RGB.
        calibration: img_P_cam (3, 4), and cam_T_lidar (4, 4) or None.
        points_lidar: (N, 4) float32, or None.
        labels: in the lidar frame, or None.
        record: stamps, frame names and pose.
    """
    img_P_cam, cam_T_lidar = calibration
    return Frame(
        name=name,
        stamp_ns=record.stamp_ns,
        image=image,
        camera=CameraModel(img_P_cam, image.shape[1], image.shape[0]),
        camera_frame_id=record.camera_frame_id,
        cam_T_lidar=cam_T_lidar,
        points_lidar=points_lidar,
        points_stamp_ns=None if points_lidar is None else record.points_stamp_ns or record.stamp_ns,
        lidar_frame_id=record.lidar_frame_id,
        labels=labels,
        world_T_lidar=record.world_T_lidar,
    )


def has_recorded_stamps(source: FrameSource) -> bool:
    """Whether a source's stamps were recorded; made-up ones of original KITTI folders mean nothing."""
    return not isinstance(source, KittiFolder) or source.has_stamps


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB.

    Raises:
        FrameError: missing or corrupt.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameError(f"{path}: cannot read the image: {error.strerror}") from error
    return decode_compressed(data, where=str(path))


def read_velodyne(path: Path) -> np.ndarray | None:
    """Read a cloud file as (N, 4) float32 x, y, z, intensity; None when there is no file.

    Raises:
        FrameError: the size is not a whole number of points.
    """
    return points_from_bytes(path.read_bytes(), str(path)) if path.is_file() else None


def points_from_bytes(data: bytes, where: str) -> np.ndarray:
    """(N, 4) float32 x, y, z, intensity of a cloud file's content.

    Raises:
        FrameError: the size is not a whole number of points.
    """
    if len(data) % 16:
        raise FrameError(f"{where}: expected 16 bytes a point, got {len(data)} bytes: is the file truncated?")
    return np.frombuffer(data, dtype="<f4").reshape(-1, 4).astype(np.float32)


def read_calibration(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read an object calibration file: img_P_cam (3, 4), and cam_T_lidar (4, 4) or None without `Tr_velo_to_cam`.

    Raises:
        CalibrationError: missing or malformed.
    """
    return calibration_from_text(_text(path), str(path))


def calibration_from_text(text: str, where: str) -> tuple[np.ndarray, np.ndarray | None]:
    """`read_calibration` of a file's content.

    Raises:
        CalibrationError: malformed.
    """
    matrices = matrices_from_text(text, where)
    return matrix(matrices, "P2", (3, 4), where), _extrinsic(matrices, where)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: cannot read the calibration: {error}") from error


def _extrinsic(matrices: dict[str, np.ndarray], where: str) -> np.ndarray | None:
    key = "Tr_velo_to_cam" if "Tr_velo_to_cam" in matrices else "Tr_velo_cam"
    if key not in matrices:
        return None
    rotation_key = "R0_rect" if "R0_rect" in matrices else "R_rect"
    rectification = make_transform(matrix(matrices, rotation_key, (3, 3), where), np.zeros(3))
    return rectification @ rigid(matrices, key, where)


def calibrated_extrinsic(path: Path) -> np.ndarray:
    """The cam_T_lidar (4, 4) of a calibration file, which may lack the rest.

    Raises:
        CalibrationError: missing, malformed, or without `Tr_velo_to_cam`.
    """
    cam_T_lidar = _extrinsic(matrices_from_text(_text(path), str(path)), str(path))
    if cam_T_lidar is None:
        raise CalibrationError(f"{path}: expected a line 'Tr_velo_to_cam:' with 12 numbers, found none")
    return cam_T_lidar


def read_labels(path: Path, cam_T_lidar: np.ndarray | None) -> Labels3D | None:
    """Read a label file; None when there is none.

    Raises:
        LabelError: malformed, or no text.
    """
    if cam_T_lidar is None or not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot read the labels: {error}") from error
    return labels_from_text(text, cam_T_lidar, str(path))
