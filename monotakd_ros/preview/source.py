"""What can be looked at: a generated set with all its boxes, or any source with its labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from monotakd_ros.data.kitti import KittiFolder
from monotakd_ros.data.rosbag import BagSource
from monotakd_ros.data.source import DEFAULT_OPTIONS, FrameSource, OnError, SourceOptions, open_source, skip_bad_frames
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import BoxedFrame
from monotakd_ros.generation.segments import Segment, segment_frames
from monotakd_ros.generation.set_frames import GeneratedSet, boxed_frame, is_set, open_set

SPARSE = 20
"""From so many images on for each that is wanted, a bag is read around those alone."""


class BoxedSource:
    """Frames with boxes, told apart by what is in the folder.

    Args:
        path: a generated set, or what `open_source` takes.
        options: how a source is read; a set needs none.

    Raises:
        SourceError: it is none of them, or cannot be read.
    """

    def __init__(self, path: Path, options: SourceOptions = DEFAULT_OPTIONS) -> None:
        self.path = path
        self._options = options
        self.name = path.resolve().stem
        self._set: GeneratedSet | None = open_set(path) if is_set(path) else None
        self._source: FrameSource | None = None if is_set(path) else open_source(path, options)

    def __len__(self) -> int:
        return len(self._source if self._set is None else self._set)

    def frames(self, count: int | None, on_error: OnError) -> Iterator[BoxedFrame]:
        """Frames in order, of a set recording by recording.

        Args:
            count: at most so many, evenly spread; None for all.
            on_error: is told of each frame that cannot be used.

        Raises:
            SourceError: the source cannot be read, or every frame is bad.
        """
        chosen = evenly(len(self), count)
        if self._set is not None:
            return skip_bad_frames(self._set.frames(chosen), self.path, on_error)
        if isinstance(self._source, KittiFolder):
            return skip_bad_frames(_of_folder(self._source, chosen), self.path, on_error)
        if isinstance(self._source, BagSource) and len(self) >= SPARSE * len(chosen):
            attempts = _of_bag(self._source, self.path, self._options, count)
            return skip_bad_frames(attempts, self.path, on_error)
        return self._of_source(set(chosen), on_error)

    def close(self) -> None:
        """Release files."""
        if self._source is not None:
            self._source.close()

    def _of_source(self, chosen: Collection[int], on_error: OnError) -> Iterator[BoxedFrame]:
        last = max(chosen, default=-1)
        for index, frame in enumerate(self._source.frames(on_error)):
            if index in chosen:
                yield boxed_frame(frame)
            if index >= last:
                return


def _of_folder(folder: KittiFolder, chosen: Collection[int]) -> Iterator[BoxedFrame | FrameError]:
    for index in chosen:
        try:
            yield boxed_frame(folder.frame(folder.names[index]))
        except FrameError as error:
            yield error


def _of_bag(bag: BagSource, path: Path, options: SourceOptions, count: int | None) -> Iterator[BoxedFrame | FrameError]:
    """Frames far apart: what lies between them is not decoded."""
    times = bag.image_times().log_stamps_ns
    for index in evenly(len(times), count):
        start_ns = int(times[index])
        moment = Segment(0, 0, index, index + 1, index, 1, start_ns, start_ns + 1)
        for _, attempt in islice(segment_frames(path, moment, options), 1):
            yield attempt if isinstance(attempt, FrameError) else boxed_frame(attempt)


def evenly(total: int, count: int | None) -> list[int]:
    """At most `count` of `total` indices, evenly spread with both ends; all for None."""
    if count is None or count >= total:
        return list(range(total))
    return np.linspace(0, total - 1, count).round().astype(int).tolist()
