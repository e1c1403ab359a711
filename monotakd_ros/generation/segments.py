"""What there is to do: sources, cut into segments that are worked on alone, in any order, by anyone.

A segment owns images [first, stop) of its source and also reads a few before and behind, whose clouds are its
neighbours. Segments are cut by recording time, so that they do not depend on how many workers there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monotakd_ros.data.rosbag import BagPart, BagSource
from monotakd_ros.data.source import FrameSource, SourceOptions, open_source
from monotakd_ros.data.sqlite_wal import log_of
from monotakd_ros.errors import FrameError, SourceError
from monotakd_ros.frame import Frame
from monotakd_ros.provenance import file_sha256

REACH = 4
"""Images before and behind an image among which the next cloud is looked for; a 30 Hz camera has three a cloud."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a source.

    Attributes:
        source: number of the source in the set.
        number: of the segment in its source.
        first: index of its first image.
        stop: index behind its last image.
        read_first: index of the first image to read.
        read_count: number of images to read.
        start_ns: bag time of the first image to read; None for a source that is no bag.
        stop_ns: bag time behind the last image to read.
    """

    source: int
    number: int
    first: int
    stop: int
    read_first: int
    read_count: int
    start_ns: int | None = None
    stop_ns: int | None = None

    @property
    def key(self) -> str:
        """Its name in the set."""
        return f"{self.source:03d}-{self.number:05d}"

    def __len__(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True)
class SourcePlan:
    """A source and its segments.

    Attributes:
        segments: in order.
        broken: why the source cannot be read to its end; None when it can.
    """

    segments: tuple[Segment, ...]
    broken: str | None


def plan_source(path: Path, number: int, options: SourceOptions, segment_s: float) -> SourcePlan:
    """Cut a source into segments; of a bag this takes one pass over its storage.

    Raises:
        SourceError: it cannot be opened, or holds no image.
    """
    source = open_source(path, options)
    try:
        if not isinstance(source, BagSource):
            return SourcePlan((Segment(number, 0, 0, len(source), 0, len(source)),), None)
        times = source.image_times()
    finally:
        source.close()
    if not len(times.log_stamps_ns):
        raise SourceError(f"{path}: no image can be read{': ' + times.broken if times.broken else ''}")
    return SourcePlan(tuple(_cut(times.log_stamps_ns, number, segment_s)), times.broken)


def _cut(log_stamps_ns: np.ndarray, source: int, segment_s: float) -> Iterator[Segment]:
    """Segments of a bag; images of one bag time stay together, because parts of a bag are cut by bag time."""
    count = len(log_stamps_ns)
    period_ns = int(segment_s * 1e9)
    begins_second = np.diff((log_stamps_ns - log_stamps_ns[0]) // period_ns, prepend=-1) > 0
    firsts = [*np.flatnonzero(begins_second).tolist(), count]
    for number, (first, stop) in enumerate(itertools.pairwise(firsts)):
        read_first = int(np.searchsorted(log_stamps_ns, log_stamps_ns[max(first - REACH, 0)], side="left"))
        stop_ns = int(log_stamps_ns[min(stop + REACH, count) - 1]) + 1
        read_stop = int(np.searchsorted(log_stamps_ns, stop_ns, side="left"))
        start_ns = int(log_stamps_ns[read_first])
        yield Segment(source, number, first, stop, read_first, read_stop - read_first, start_ns, stop_ns)


def segment_frames(path: Path, segment: Segment, options: SourceOptions) -> Iterator[tuple[int, Frame | FrameError]]:
    """Index in the source and frame, or why it is none, of every image that a segment reads.

    A bag that breaks ends the iteration; what it held before has come.

    Raises:
        SourceError: the source cannot be opened.
    """
    part = None
    if segment.start_ns is not None and segment.stop_ns is not None:
        part = BagPart(segment.start_ns, segment.stop_ns, segment.read_first, segment.read_count)
    source = BagSource(path, options, part) if part else open_source(path, options)
    try:
        for offset, attempt in enumerate(_attempts(source)):
            yield segment.read_first + offset, attempt
    finally:
        source.close()


def _attempts(source: FrameSource) -> Iterator[Frame | FrameError]:
    errors: list[FrameError] = []
    try:
        for frame in source.frames(on_error=errors.append):
            yield from errors
            errors.clear()
            yield frame
    except SourceError:  # the bag's end was found when the segments were planned; or every single frame was bad
        pass
    yield from errors


def source_digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file of a source by its path in it; of a single file, and what its recorder left, by its name.

    Raises:
        SourceError: a file cannot be read.
    """
    folder, items = (path, path.rglob("*")) if path.is_dir() else (path.parent, (path, log_of(path)))
    files = sorted(item for item in items if item.is_file())
    try:
        return {str(item.relative_to(folder)): file_sha256(item) for item in files}
    except OSError as error:
        raise SourceError(f"{path}: cannot read: {error}") from error
