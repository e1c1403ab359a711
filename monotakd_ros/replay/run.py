"""Every frame of a source through the `Detector`, in time order, into one output folder.

The folder holds `detections/` (rosbag2), `summary.json` and the pictures. It is built under a temporary name and
takes its own when all is done or the user pressed Ctrl-C (then with what is whole so far, marked `interrupted`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from monotakd_ros.atomic import PendingFolder, output_errors
from monotakd_ros.data.frame_writers import interrupts_deferred
from monotakd_ros.data.source import FrameSource
from monotakd_ros.detector import Detector, StageTimer
from monotakd_ros.errors import FrameError, SourceError
from monotakd_ros.evaluation.latency import latency_ms
from monotakd_ros.frame import Frame
from monotakd_ros.provenance import CheckpointName, device_name, versions
from monotakd_ros.replay.detection_bag import DetectionBag
from monotakd_ros.replay.pictures import Pictures
from monotakd_ros.replay.tally import Tally
from monotakd_ros.visualization.picture_files import PictureKind

PictureChoice = Literal["none", "strip", "video", "all"]
BAG_NAME = "detections"
SUMMARY_NAME = "summary.json"
PICTURE_KINDS: dict[PictureChoice, frozenset[PictureKind]] = {
    "none": frozenset(),
    "strip": frozenset({"strip"}),
    "video": frozenset({"video"}),
    "all": frozenset({"strip", "video"}),
}


@dataclass(frozen=True)
class ReplayOptions:
    """How to replay.

    Attributes:
        strict: a bad frame is an error instead of being skipped and counted.
        overwrite: replace an earlier replay of the same name, once the new one is complete.
        pictures: which pictures to make.
        images: whether the bag also holds the camera images (JPEG).
        points: whether the bag also holds the LiDAR clouds.
        max_frames: stop after so many good frames; None takes all.
        shown_score: boxes below it are neither drawn nor marked; the Detection3DArray holds them all.
    """

    strict: bool = False
    overwrite: bool = False
    pictures: PictureChoice = "all"
    images: bool = False
    points: bool = False
    max_frames: int | None = None
    shown_score: float = 0.3


@dataclass(frozen=True, eq=False)
class ReplayResult:
    """What a replay left.

    Attributes:
        out: the output folder.
        summary: content of its `summary.json`.
    """

    out: Path
    summary: dict[str, Any]


def replay(
    source: FrameSource,
    detector: Detector,
    checkpoint: CheckpointName,
    out: Path | str,
    options: ReplayOptions | None = None,
    on_frame: Callable[[Tally], None] = lambda tally: None,
) -> ReplayResult:
    """Run `source` through `detector` and write the output folder.

    Args:
        source: frames in time order.
        detector: finds the boxes.
        checkpoint: where the detector's weights came from.
        out: folder to make.
        options: see there.
        on_frame: called after each frame that was written or skipped, for a progress bar.

    Raises:
        OutputError: `out` exists, or cannot be written.
        FrameError: a frame is bad and `options.strict`.
        SourceError: the source cannot be read, or yields no usable frame.
        KeyboardInterrupt: passed on after what is whole was kept.
    """
    options = options or ReplayOptions()
    folder = PendingFolder(out, options.overwrite)
    try:
        with output_errors(folder.target):
            folder.path.mkdir()
        run = _Run(source, detector, checkpoint, folder.path, options, on_frame)
        interrupted = run.frames()
        with interrupts_deferred():
            summary = run.finish(interrupted)
            folder.commit()
        if interrupted:
            raise KeyboardInterrupt
        return ReplayResult(folder.target, summary)
    finally:
        folder.discard()


class _Run:
    """One replay on its way."""

    def __init__(
        self,
        source: FrameSource,
        detector: Detector,
        checkpoint: CheckpointName,
        folder: Path,
        options: ReplayOptions,
        on_frame: Callable[[Tally], None],
    ) -> None:
        self._source, self._detector, self._checkpoint = source, detector, checkpoint
        self._folder, self._options, self._on_frame = folder, options, on_frame
        self._tally = Tally(detector.class_names)
        self._timer = StageTimer(detector.device)
        self._notes: dict[str, None] = {}
        total = min(len(source), options.max_frames or len(source))
        self._pictures = Pictures(folder, PICTURE_KINDS[options.pictures], total)
        self._started = time.perf_counter()

    def frames(self) -> bool:
        """Do all frames; returns whether the user stopped it."""
        with output_errors(self._folder):
            self._bag = DetectionBag(
                self._folder / BAG_NAME,
                self._detector.class_names,
                self._detector.score_threshold,
                images=self._options.images,
                points=self._options.points,
            )
        try:
            for frame in islice(self._good_frames(), self._options.max_frames):
                with interrupts_deferred():
                    self._do(frame)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self._tally.stamps_ns:
                return True
            self._bag.abort()
            raise
        if not self._tally.stamps_ns:
            self._bag.abort()
            raise SourceError(f"{self._source.name}: {_no_frames(self._tally)}")
        return False

    def finish(self, interrupted: bool) -> dict[str, Any]:
        """Close the bag and the pictures and write the summary."""
        with output_errors(self._folder):
            self._bag.close()
            files = {"bag": BAG_NAME, **self._pictures.close()}
            summary = self._summary(interrupted, files)
            text = json.dumps(summary, indent=1, allow_nan=False)
            (self._folder / SUMMARY_NAME).write_text(text + "\n", encoding="utf-8")
        return summary

    def _good_frames(self) -> Iterator[Frame]:
        frames = self._source.frames(None if self._options.strict else self._skip)
        while True:
            started = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            self._timer.seconds["read"].append(time.perf_counter() - started)
            yield frame

    def _do(self, frame: Frame) -> None:
        try:
            detections = self._detector.detect(frame, self._timer)
        except FrameError as error:
            if self._options.strict:
                raise
            self._skip(error)
            return
        shown = detections.select(detections.scores >= self._options.shown_score)
        self._notes.update(dict.fromkeys(self._detector.notes(frame)))
        with output_errors(self._folder), self._timer.stage("write"):
            self._bag.write(frame, detections, shown)
        with output_errors(self._folder), self._timer.stage("draw") if self._pictures.wanted else nullcontext():
            self._pictures.add(frame, shown)
        self._tally.add(frame, detections)
        self._on_frame(self._tally)

    def _skip(self, error: FrameError) -> None:
        self._tally.skip(error)
        self._on_frame(self._tally)

    def _summary(self, interrupted: bool, files: dict[str, str]) -> dict[str, Any]:
        wall_s = time.perf_counter() - self._started
        return {
            "interrupted": interrupted,
            "source": {"name": self._source.name, "path": str(self._source.path or ""), "frames": len(self._source)},
            "checkpoint": {**vars(self._checkpoint), "config": self._detector.config.name},
            "device": device_name(self._detector.device),
            "amp": self._detector.amp,
            **self._tally.to_dict(),
            "latency_ms": latency_ms(self._timer.seconds),
            "frames_per_s": round(len(self._tally.stamps_ns) / wall_s, 2),
            "preprocessing_notes": list(self._notes),
            "files": files,
            "versions": versions(),
        }


def _no_frames(tally: Tally) -> str:
    if not tally.skipped:
        return "it holds no frames"
    return f"none of its {len(tally.skipped)} frames can be used; the first: {tally.skipped[0]}"
