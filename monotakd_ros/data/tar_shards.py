"""Frames in tar files, by the convention of WebDataset: members of one frame follow each other, `NAME.KIND`.

    NAME.png (or .jpg)   NAME.calib.txt   NAME.velodyne.bin   NAME.label_2.txt   NAME.json   and others

The content of each is that of KITTI's file; the JSON has stamps, frame names and the pose. `monotakd generate
--format tar` writes such shards; a folder of them, or one, is a source. They are read in order, from disk or network.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from monotakd_ros.data.image_codec import decode_compressed
from monotakd_ros.data.kitti import calibration_from_text, points_from_bytes, recorded_frame
from monotakd_ros.data.kitti_records import FrameRecord
from monotakd_ros.data.kitti_text import labels_from_text
from monotakd_ros.data.source import DEFAULT_OPTIONS, OnError, SourceOptions, skip_bad_frames
from monotakd_ros.errors import FrameError, SourceError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.transforms import make_transform

SHARD_DIR = "shards"
IMAGES = ("png", "jpg")
RECORD = "json"

Members = Mapping[str, bytes]
"""Content by kind: "png", "calib.txt", ..."""


def find_shards(path: Path) -> list[Path]:
    """The tar files that a path stands for: itself, those in it, or those in its `shards`; empty without any."""
    if path.is_file():
        return [path] if path.suffix == ".tar" else []
    return sorted((path / SHARD_DIR).glob("*.tar")) or sorted(path.glob("*.tar"))


class TarShards:
    """A folder of tar shards, or one shard.

    Args:
        path: see `find_shards`.
        options: none of them matters here.

    Raises:
        SourceError: no shard, or one that cannot be read.
    """

    def __init__(self, path: Path | str, options: SourceOptions = DEFAULT_OPTIONS) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().stem
        self._shards = find_shards(self.path)
        if not self._shards:
            raise SourceError(f"{self.path}: expected a .tar file, or a folder that holds some")
        self._count = sum(1 for shard in self._shards for name in _member_names(shard) if kind_of(name) == RECORD)

    def __len__(self) -> int:
        return self._count

    def frames(self, on_error: OnError | None = None) -> Iterator[Frame]:
        """Yield the frames in the order of the shards; see `FrameSource.frames`.

        Raises:
            CalibrationError, LabelError: what a shard holds is malformed.
        """
        return skip_bad_frames(self._attempts(), self.path, on_error)

    def close(self) -> None:
        """Nothing stays open."""

    def _attempts(self) -> Iterator[Frame | FrameError]:
        for shard in self._shards:
            for name, members in shard_members(shard):
                try:
                    yield frame_from_members(name, members, str(shard))
                except FrameError as error:
                    yield error


def shard_members(shard: Path, kinds: tuple[str, ...] | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Name and members, by kind, of every frame of a shard.

    Args:
        shard: a tar file.
        kinds: read only these; None reads all.

    Raises:
        SourceError: the file is damaged or ends early.
    """
    current: str | None = None
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for item in archive:
                name = name_of(item.name)
                if current is not None and name != current:
                    yield current, members
                    members = {}
                current = name
                file = archive.extractfile(item) if kinds is None or kind_of(item.name) in kinds else None
                if file is not None:
                    members[kind_of(item.name)] = file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"{shard}: cannot read the shard: {error}") from error
    if current is not None:
        yield current, members


def name_of(member: str) -> str:
    """The frame's name: what stands before the first dot."""
    return Path(member).name.partition(".")[0]


def kind_of(member: str) -> str:
    """What stands behind the first dot."""
    return Path(member).name.partition(".")[2]


def frame_from_members(name: str, members: Members, where: str) -> Frame:
    """A frame of its members.

    Raises:
        FrameError: image, calibration or record are missing, or image or cloud are damaged.
        CalibrationError, LabelError: malformed.
    """
    place = f"{where}: frame {name}"
    image_kind = next((kind for kind in IMAGES if kind in members), None)
    missing = [kind for kind in ("calib.txt", RECORD) if kind not in members] + (["png"] if image_kind is None else [])
    if image_kind is None or missing:
        found = ", ".join(sorted(members)) or "none"
        raise FrameError(f"{place}: expected members {', '.join(missing)}, found {found}")
    calibration = calibration_from_text(members["calib.txt"].decode(), place)
    cloud, labels = members.get("velodyne.bin"), members.get("label_2.txt")
    return recorded_frame(
        name,
        decode_compressed(members[image_kind], place),
        calibration,
        None if cloud is None else points_from_bytes(cloud, place),
        None if labels is None or calibration[1] is None else labels_from_text(labels.decode(), calibration[1], place),
        record_from_json(members[RECORD], place),
    )


def record_from_json(data: bytes, where: str) -> FrameRecord:
    """Stamps, frame names and pose of a frame's JSON.

    Raises:
        FrameError: malformed.
    """
    try:
        facts = json.loads(data)
        pose = facts["world_T_lidar"]
        rows = None if pose is None else np.array([float(word) for word in pose.split()]).reshape(3, 4)
        return FrameRecord(
            stamp_ns=int(facts["stamp_ns"]),
            points_stamp_ns=facts["points_stamp_ns"],
            camera_frame_id=str(facts["camera_frame_id"]),
            lidar_frame_id=str(facts["lidar_frame_id"]),
            world_T_lidar=None if rows is None else make_transform(rows[:, :3], rows[:, 3]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FrameError(f"{where}: the record is malformed: {error}") from error


def _member_names(shard: Path) -> list[str]:
    try:
        _require_end(shard)
        with tarfile.open(shard, "r:") as archive:
            return archive.getnames()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"{shard}: cannot read the shard: {error}") from error


def _require_end(shard: Path) -> None:
    """Check the two empty blocks that end a tar file: one that was cut between members looks whole otherwise.

    Raises:
        EOFError: they are not there.
    """
    with shard.open("rb") as file:
        file.seek(max(shard.stat().st_size - 2 * tarfile.BLOCKSIZE, 0))
        if file.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise EOFError("it was cut off")
