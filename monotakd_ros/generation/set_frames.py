"""Frames of a generated set with all their boxes: labels, uncertain ones, the guides' and the recording's own."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from monotakd_ros.data.kitti import KittiFolder, read_frame, read_labels
from monotakd_ros.data.kitti_text import labels_from_text
from monotakd_ros.data.tar_shards import TarShards, find_shards, frame_from_members, record_from_json, shard_members
from monotakd_ros.errors import FrameError, MonotakdError, SourceError
from monotakd_ros.frame import UNCERTAIN, BoxedFrame, BoxKind, Frame, Labels3D
from monotakd_ros.generation.set_folder import FRAME_DIR, SET_FILE

logger = logging.getLogger(__name__)

BOX_FOLDERS: Mapping[BoxKind, str] = MappingProxyType(
    {"teacher": "teacher", "assistant": "assistant", "truth": "truth"}
)
"""Where a set keeps the boxes that are not in `label_2`."""


class GeneratedSet(Protocol):
    """A set that `generate` made, or is making: the frames that are there, recording by recording."""

    def __len__(self) -> int: ...

    def frames(self, chosen: Collection[int]) -> Iterator[BoxedFrame | FrameError]:
        """The frames at these places of the set, in order; an error in place of one that cannot be used.

        Raises:
            SourceError: a file of the set is malformed.
        """
        ...


def is_set(path: Path) -> bool:
    """Whether a folder is a generated set, finished or not."""
    return (path / SET_FILE).is_file()


def open_set(root: Path) -> GeneratedSet:
    """Open a set of either format.

    Raises:
        SourceError: it is no generated set, or holds no frame yet.
        CalibrationError: an image has no calibration.
    """
    if not is_set(root):
        raise SourceError(f"{root}: expected a generated set (a folder with {SET_FILE})")
    return TarSet(root) if find_shards(root) else KittiSet(root)


class KittiSet:
    """A set in KITTI's folders; see `open_set`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = KittiFolder(root)
        self.names = tuple(sorted(self._folder.names))

    def __len__(self) -> int:
        return len(self.names)

    def frames(self, chosen: Collection[int]) -> Iterator[BoxedFrame | FrameError]:
        """See `GeneratedSet`."""
        for index in sorted(chosen):
            try:
                yield self.frame(self.names[index])
            except FrameError as error:
                yield error

    def frame(self, name: str) -> BoxedFrame:
        """Read one frame.

        Raises:
            FrameError: there is none of this name, or its image or cloud is bad.
            LabelError: a file with boxes is malformed.
        """
        return _with_other_boxes(self.root, self._folder.frame(name))


class TarSet:
    """A set in tar shards, which are read through; see `open_set`."""

    def __init__(self, root: Path) -> None:
        self._shards = find_shards(root)
        self._count = len(TarShards(root))

    def __len__(self) -> int:
        return self._count

    def frames(self, chosen: Collection[int]) -> Iterator[BoxedFrame | FrameError]:
        """See `GeneratedSet`."""
        wanted, index = set(chosen), 0
        for shard in self._shards:
            for name, members in shard_members(shard):
                if index in wanted:
                    yield _from_members(name, members, str(shard))
                index += 1


class NewestFrame:
    """Looks into a set while it is being made.

    Args:
        root: of the set; need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: set[str] = set()

    def read(self) -> BoxedFrame | None:
        """The last by name of the frames that are whole since the last call; None without one, or when it is bad.

        Of tar shards, which are whole when their segment is done, the first frame of the newest.
        """
        shards = find_shards(self._root)
        records = self._root / FRAME_DIR
        names = {path.name for path in shards or (records.iterdir() if records.is_dir() else ())}
        new = {name for name in names - self._seen if not name.startswith(".")}  # others have no name of their own yet
        self._seen = names
        if not new:
            return None
        try:
            return self._first_of(next(path for path in shards if path.name == max(new))) if shards else self._made(new)
        except (MonotakdError, OSError) as error:
            logger.debug("no preview: %s", error)
            return None

    def _made(self, records: Collection[str]) -> BoxedFrame:
        name = Path(max(records)).stem
        path = self._root / FRAME_DIR / f"{name}.json"
        record = record_from_json(path.read_bytes(), str(path))
        subset = self._root / "training"
        image_path = next((subset / "image_2").glob(f"{name}.*"), subset / "image_2" / f"{name}.png")
        return _with_other_boxes(self._root, read_frame(subset, image_path, record))

    def _first_of(self, shard: Path) -> BoxedFrame | None:
        for name, members in shard_members(shard):
            boxed = _from_members(name, members, str(shard))
            return None if isinstance(boxed, FrameError) else boxed
        return None


def _with_other_boxes(root: Path, frame: Frame) -> BoxedFrame:
    """A frame of a KITTI set with the boxes that lie beside its labels."""
    others = {
        kind: read_labels(root / folder / f"{frame.name}.txt", frame.cam_T_lidar)
        for kind, folder in BOX_FOLDERS.items()
    }
    return boxed_frame(frame, {kind: boxes for kind, boxes in others.items() if boxes is not None})


def boxed_frame(frame: Frame, others: Mapping[BoxKind, Labels3D] = MappingProxyType({})) -> BoxedFrame:
    """A frame of any source: its labels sorted into those that are sure and, where there are any, uncertain ones.

    Args:
        frame: with labels or without.
        others: further boxes of it, by kind.
    """
    boxes: dict[BoxKind, Labels3D] = {}
    if frame.labels is not None:
        uncertain = np.array([name.startswith(UNCERTAIN) for name in frame.labels.class_names], dtype=bool)
        boxes["labels"] = frame.labels.select(~uncertain)
        if uncertain.any():
            boxes["uncertain"] = frame.labels.select(uncertain)
    return BoxedFrame(replace(frame, labels=None), {**boxes, **others})


def _from_members(name: str, members: Mapping[str, bytes], where: str) -> BoxedFrame | FrameError:
    try:
        frame = frame_from_members(name, members, where)
    except FrameError as error:
        return error
    others = {}
    for kind, folder in BOX_FOLDERS.items():
        text = members.get(f"{folder}.txt")
        if text is not None and frame.cam_T_lidar is not None:
            others[kind] = labels_from_text(text.decode(), frame.cam_T_lidar, f"{where}: frame {name}, {folder}")
    return boxed_frame(frame, others)
