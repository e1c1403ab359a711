"""One shape for everything that yields frames, and the door that tells sources apart by what is in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

from monotakd_ros.errors import FrameError, SourceError
from monotakd_ros.frame import Frame

OnError = Callable[[FrameError], None]
Moment = TypeVar("Moment")
"""A frame of whatever type a stream has."""
BAG_ENDINGS = (".mcap", ".db3", ".bag", ".mcap.zstd", ".db3.zstd", ".bag.active")
"""What the names of bag files end in: also those that were compressed as a whole, and that a ROS 1 recorder left."""


@runtime_checkable
class FrameSource(Protocol):
    """Frames in time order; can be iterated again.

    Attributes:
        name: short name, e.g. the folder's.
        path: where the frames lie; None when they are made, not read.
    """

    name: str
    path: Path | None

    def __len__(self) -> int:
        """Number of frames if all are good."""
        ...

    def frames(self, on_error: OnError | None = None) -> Iterator[Frame]:
        """Yield the frames in time order.

        Args:
            on_error: called with the error of a bad frame, which is then skipped; None raises it.

        Raises:
            FrameError: a frame is bad and `on_error` is None.
            SourceError: the source cannot be read (further), or every single frame was bad.
        """
        ...

    def close(self) -> None:
        """Release files."""
        ...


@runtime_checkable
class FramesByName(Protocol):
    """A source that reads one frame without the others."""

    def frame(self, name: str) -> Frame:
        """Read the frame of this name.

        Raises:
            FrameError: there is none, or it is bad.
        """
        ...


@dataclass(frozen=True)
class SourceOptions:
    """What cannot always be told from the data.

    Attributes:
        image_topic: bag topic of type Image or CompressedImage; None finds the single one.
        camera_info_topic: bag topic of type CameraInfo; None takes the image topic's sibling, else the single one.
        points_topic: bag topic of type PointCloud2; None finds the single one, if any.
        ground_truth_topic: bag topic of type Detection3DArray; None finds the single one, if any.
        label_dir: folder of KITTI labels named by frame number; None looks for `label_2` beside the bag.
        split: name of a list in a KITTI folder's `ImageSets`, to which the frames are restricted.
        cloud_tolerance_s: largest time between an image and the cloud or ground truth that goes with it.
        rectify: whether a bag's images are rectified on reading. "auto" does so when the camera has distortion and
            the topic's name does not say that the image is rectified already.
        calibration: KITTI calibration file whose `Tr_velo_to_cam` (with `R0_rect`) says where a bag's LiDAR is; None
            takes tf.
        odometry_topic: bag topic of type Odometry, from which the world's pose is read where tf has none; None finds
            the single one in a bag without moving transforms.
        compensate_motion: whether a bag's clouds are moved, as rigid bodies, to where they would have been measured at
            the image's stamp; needs tf or odometry. Clouds for which the pose is not known stay as they are.
        read_cut: whether a bag that was cut off is read up to there, instead of being refused.
    """

    image_topic: str | None = None
    camera_info_topic: str | None = None
    points_topic: str | None = None
    ground_truth_topic: str | None = None
    label_dir: Path | None = None
    split: str | None = None
    cloud_tolerance_s: float = 0.06
    rectify: Literal["auto", "always", "never"] = "auto"
    calibration: Path | None = None
    odometry_topic: str | None = None
    compensate_motion: bool = False
    read_cut: bool = False


DEFAULT_OPTIONS = SourceOptions()


def open_source(path: Path | str, options: SourceOptions = DEFAULT_OPTIONS) -> FrameSource:
    """Open a bag, a KITTI object folder or a KITTI raw drive, told apart by content.

    Raises:
        SourceError: the path is missing, holds none of them, or what it holds is unusable.
        CalibrationError: a calibration is missing or malformed.
    """
    # Imported here: each source pulls in its own libraries, and they import this module.
    from monotakd_ros.data.kitti import KittiFolder, find_kitti_subset
    from monotakd_ros.data.kitti_raw import KittiRawDrive, find_raw_drives
    from monotakd_ros.data.rosbag import BagSource
    from monotakd_ros.data.tar_shards import TarShards, find_shards

    path = Path(path)
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    if is_bag(path):
        return BagSource(path, options)
    if path.is_dir() and find_kitti_subset(path, options.split):
        return KittiFolder(path, options)
    if path.is_dir() and find_raw_drives(path):
        return KittiRawDrive(path, options)
    if find_shards(path):
        return TarShards(path, options)
    raise SourceError(
        f"{path}: expected a rosbag (a folder with metadata.yaml, or a .mcap, .db3 or .bag file), a KITTI folder "
        f"(image_2 and calib, or training/image_2), a KITTI raw drive (image_02/data) or tar shards; "
        f"found {_content(path)}"
    )


def is_bag(path: Path) -> bool:
    """Whether `path` is a bag file, or a folder that holds a bag."""
    if path.is_file():
        return path.name.endswith(BAG_ENDINGS)
    return (path / "metadata.yaml").exists() or any(item.name.endswith(BAG_ENDINGS) for item in path.iterdir())


def skip_bad_frames(attempts: Iterable[Moment | FrameError], path: Path, on_error: OnError | None) -> Iterator[Moment]:
    """Apply the rule of `FrameSource.frames` to a stream of frames and errors.

    Raises:
        FrameError: a frame is bad and `on_error` is None.
        SourceError: there were frames, and all of them were bad.
    """
    good = bad = 0
    first_error: FrameError | None = None
    for attempt in attempts:
        if isinstance(attempt, FrameError):
            if on_error is None:
                raise attempt
            on_error(attempt)
            bad += 1
            first_error = first_error or attempt
        else:
            good += 1
            yield attempt
    if bad and not good:
        raise SourceError(f"{path}: none of its {bad} frames can be used; the first: {first_error}") from first_error


def find_frames(source: FrameSource, names: Collection[str]) -> dict[str, Frame]:
    """The frames of these names, as far as the source has them and they are good; reads as few others as it can."""
    found: dict[str, Frame] = {}
    remaining = set(names)
    if isinstance(source, FramesByName):
        for name in remaining:
            with suppress(FrameError):
                found[name] = source.frame(name)
    elif remaining:
        for frame in source.frames(lambda error: None):
            if frame.name in remaining:
                remaining.discard(frame.name)
                found[frame.name] = frame
            if not remaining:
                break
    return found


def _content(path: Path) -> str:
    if path.is_file():
        return f"a {path.suffix or 'nameless'} file"
    names = sorted(item.name for item in path.iterdir())
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "an empty folder"
