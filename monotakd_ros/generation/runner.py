"""One segment from recording to files: reading and decoding, the networks, and writing overlap in three threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import Full, Queue
from typing import Any, TypeVar

import torch

from monotakd_ros.data.source import SourceOptions
from monotakd_ros.detector import Detector
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import Frame
from monotakd_ros.generation.frame_files import frame_files, seen_points
from monotakd_ros.generation.frame_store import FrameStore, open_store
from monotakd_ros.generation.labelling import Labeller, has_cloud
from monotakd_ros.generation.segments import REACH, Segment, segment_frames
from monotakd_ros.generation.selection import FrameSelector
from monotakd_ros.generation.set_folder import SetFolder
from monotakd_ros.generation.settings import GenerationSettings

PREFETCH = 4
"""Frames that wait for the networks at most; bounds memory."""
_POLL_S = 0.2
Item = TypeVar("Item")
_NOTHING: Any = object()


@dataclass(frozen=True)
class RunnerSettings:
    """What a worker needs to know; the same for every segment of a set.

    Attributes:
        root: of the set.
        sources: number and path of each recording.
        teacher: checkpoint.
        assistant: checkpoint, or None.
        device: of the networks.
        options: how recordings are read.
        settings: how frames are chosen, labelled and written.
    """

    root: Path
    sources: tuple[tuple[int, Path], ...]
    teacher: Path
    assistant: Path | None
    device: str
    options: SourceOptions
    settings: GenerationSettings


@dataclass
class Busy:
    """Seconds that each stage was busy, and how many images were looked at and kept."""

    seconds: Counter[str] = field(default_factory=Counter)
    images: int = 0
    kept: int = 0

    def add(self, other: Busy) -> None:
        """Add those of another segment."""
        self.seconds.update(other.seconds)
        self.images += other.images
        self.kept += other.kept


class SegmentRunner:
    """Works on segments, one after the other, with networks that are loaded once.

    On a CPU one thread computes: results then do not depend on how many workers share the machine.

    Raises:
        CheckpointError: a checkpoint is unreadable, or no network for its part.
        ConfigError: the device is not there.
    """

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        if settings.device == "cpu":
            torch.set_num_threads(1)
        self._labeller = make_labeller(settings)
        self._folder = SetFolder(settings.root)

    def run(self, segment: Segment, on_image: Callable[[int], None] = lambda count: None) -> Busy:
        """Make a segment's files and declare it done.

        Args:
            segment: to work on.
            on_image: called with 1 for every image of the segment that was looked at.

        Raises:
            OutputError: the set cannot be written.
            SourceError, CalibrationError: the recording cannot be used.
        """
        self._labeller.forget()
        busy = Busy()
        store = open_store(self._folder, segment, self._settings.settings.format)
        try:
            with ThreadPoolExecutor(1) as pool:
                work = _SegmentWork(self._settings, segment, self._labeller, store, pool, busy)
                for before, (index, attempt), after in with_surroundings(self._read(segment, busy), REACH):
                    if segment.first <= index < segment.stop:
                        around = [[item[1] for item in side] for side in (reversed(before), after)]
                        work.image(index, attempt, around)
                        on_image(1)
                record = work.finish()
            self._folder.finish_segment(segment, record)
        except BaseException:
            store.abandon()
            raise
        return busy

    def _read(self, segment: Segment, busy: Busy) -> Iterator[tuple[int, Frame | FrameError]]:
        path = dict(self._settings.sources)[segment.source]
        return prefetched(segment_frames(path, segment, self._settings.options), PREFETCH, busy.seconds)


def make_labeller(settings: RunnerSettings) -> Labeller:
    """Load the networks.

    Raises:
        CheckpointError, ConfigError: as `SegmentRunner`.
    """
    lowest = settings.settings.cleaning.ignore_threshold
    teacher = Detector.from_checkpoint(settings.teacher, settings.device, score_threshold=lowest)
    assistant = settings.assistant and Detector.from_checkpoint(
        settings.assistant, settings.device, score_threshold=lowest
    )
    return Labeller(teacher, assistant or None, settings.settings.cleaning, settings.settings.features)


class _SegmentWork:
    """A segment on its way."""

    def __init__(
        self,
        settings: RunnerSettings,
        segment: Segment,
        labeller: Labeller,
        store: FrameStore,
        pool: ThreadPoolExecutor,
        busy: Busy,
    ) -> None:
        self._settings, self._segment, self._labeller = settings, segment, labeller
        self._store, self._pool, self._busy = store, pool, busy
        self._selector = FrameSelector(settings.settings.selection)
        self._writing: Future[dict[str, str]] | None = None
        self._frames: dict[str, dict[str, str]] = {}
        self._skipped: list[dict[str, Any]] = []

    def image(self, index: int, attempt: Frame | FrameError, around: Sequence[Sequence[Frame | FrameError]]) -> None:
        """Choose, label and write one image.

        Args:
            index: of the image in its source.
            attempt: the frame, or why it is none.
            around: those before it and those behind it, each from the nearest on.
        """
        self._busy.images += 1
        started = time.perf_counter()
        if isinstance(attempt, FrameError):
            self._skip(index, None, "unreadable", str(attempt))
            return
        frames = [[item for item in side if isinstance(item, Frame)] for side in around]
        objection = self._rival(attempt, frames) or self._selector.objection(
            attempt, lambda: len(seen_points(attempt)[1])
        )
        self._busy.seconds["choose"] += time.perf_counter() - started
        if objection is not None:
            self._skip(index, attempt.stamp_ns, objection)
            return
        started = time.perf_counter()
        try:
            labelled = self._labeller.label(attempt, _other_clouds(attempt, frames))
        except FrameError as error:
            self._skip(index, attempt.stamp_ns, "unusable", str(error))
            return
        finally:
            self._busy.seconds["networks"] += time.perf_counter() - started
        name = f"{self._segment.source:03d}{index:07d}"
        origin = {"source": self._segment.source, "image": index, "frame": attempt.name}
        self._settle()
        self._writing = self._pool.submit(self._write, name, attempt, labelled, origin)
        self._busy.kept += 1

    def _rival(self, frame: Frame, around: Sequence[Sequence[Frame]]) -> str | None:
        """Why another image of the same cloud is kept instead, if it is."""
        if not self._settings.settings.selection.one_image_per_cloud or not has_cloud(frame):
            return None
        before, after = (
            [other for other in side if has_cloud(other) and other.points_stamp_ns == frame.points_stamp_ns]
            for side in around
        )
        nearer = [other for other in before if _cloud_lag_ns(other) <= _cloud_lag_ns(frame)]
        nearer += [other for other in after if _cloud_lag_ns(other) < _cloud_lag_ns(frame)]
        return "another image is nearer to its cloud" if nearer else None

    def finish(self) -> dict[str, Any]:
        """Wait for what is being written; the segment's record."""
        self._settle()
        return {
            "segment": self._segment.key,
            "images": [self._segment.first, self._segment.stop],
            "frames": self._frames,
            "files": self._store.finish(),
            "skipped": self._skipped,
        }

    def _write(self, name: str, frame: Frame, labelled: Any, origin: dict[str, Any]) -> dict[str, str]:
        started = time.perf_counter()
        files = frame_files(name, frame, labelled, origin, self._settings.settings)
        self._frames[name] = digests = self._store.put(files)
        self._busy.seconds["write"] += time.perf_counter() - started
        return digests

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _skip(self, index: int, stamp_ns: int | None, reason: str, detail: str = "") -> None:
        facts = {"image": index, "stamp_ns": stamp_ns, "reason": reason}
        self._skipped.append(facts | ({"detail": detail} if detail else {}))


def _cloud_lag_ns(frame: Frame) -> int:
    return 0 if frame.points_stamp_ns is None else abs(frame.points_stamp_ns - frame.stamp_ns)


def _other_clouds(frame: Frame, around: Sequence[Sequence[Frame]]) -> list[Frame]:
    """The nearest frame of another cloud on either side, as far as there is one."""
    others = (
        next((other for other in side if has_cloud(other) and other.points_stamp_ns != frame.points_stamp_ns), None)
        for side in around
    )
    return [other for other in others if other is not None]


def with_surroundings(items: Iterator[Item], reach: int) -> Iterator[tuple[list[Item], Item, list[Item]]]:
    """Each item with up to `reach` items before it and up to `reach` behind it, in order."""
    window: deque[Item] = deque(islice(items, reach + 1))
    place = 0
    while place < len(window):
        listed = list(window)
        yield listed[:place], listed[place], listed[place + 1 :]
        following = next(items, _NOTHING)
        if following is not _NOTHING:
            window.append(following)
        if place < reach:
            place += 1
        else:
            window.popleft()


def prefetched(items: Iterator[Item], ahead: int, seconds: Counter[str]) -> Iterator[Item]:
    """The same items, made in another thread up to `ahead` early; counts the seconds that making them took as "read".

    An exception of the iterator comes where its item would have come. Leaving early ends the thread.
    """
    queue: Queue[tuple[bool, Any]] = Queue(maxsize=ahead)
    left = threading.Event()

    def put(entry: tuple[bool, Any]) -> bool:
        while not left.is_set():
            try:
                queue.put(entry, timeout=_POLL_S)
                return True
            except Full:
                continue
        return False

    def make() -> None:
        try:
            while True:
                started = time.perf_counter()
                item = next(items, queue)  # the queue stands for "no more": it is no item
                seconds["read"] += time.perf_counter() - started
                if not put((item is not queue, None if item is queue else item)) or item is queue:
                    return
        except BaseException as error:  # handed over, raised where the items are taken
            put((False, error))

    thread = threading.Thread(target=make, name="read", daemon=True)
    thread.start()
    try:
        while True:
            more, item = queue.get()
            if more:
                yield item
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        left.set()
        thread.join()
        if hasattr(items, "close"):
            items.close()
