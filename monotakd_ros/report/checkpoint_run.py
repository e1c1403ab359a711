"""Both sides from a detector run over labelled sources: the same `Detector` that serves a vehicle."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from monotakd_ros.data.frame_writers import interrupts_deferred
from monotakd_ros.data.kitti import has_recorded_stamps
from monotakd_ros.data.source import FrameSource, find_frames
from monotakd_ros.detector import Detector, StageTimer
from monotakd_ros.errors import FrameError, SourceError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame, evaluation_frame
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.provenance import CheckpointName, device_name
from monotakd_ros.report.gathered import Gathered, Scenes


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        frames: detected so far.
        skipped: reasons of frames that could not be used.
        unlabelled: number of frames that have no labels and were left out.
    """

    frames: list[EvaluationFrame] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unlabelled: int = 0

    def count(self) -> int:
        """Frames looked at."""
        return len(self.frames) + len(self.skipped) + self.unlabelled


@dataclass(frozen=True)
class RunOptions:
    """How to run a checkpoint over sources.

    Attributes:
        max_frames: of each source; None takes all.
        labelled_only: leave out frames without labels. When off, they are detected too (as if nothing were there):
            for writing results of frames whose labels are not at hand.
    """

    max_frames: int | None = None
    labelled_only: bool = True


def gather_checkpoint(
    detector: Detector,
    checkpoint: CheckpointName,
    sources: Sequence[FrameSource],
    options: RunOptions | None = None,
    on_frame: Callable[[Progress], None] = lambda progress: None,
) -> Gathered:
    """Detect in every labelled frame of the sources.

    Ctrl-C ends the run; what was done is scored, and the report says that it is a part.

    Args:
        detector: finds the boxes.
        checkpoint: where its weights came from.
        sources: in the order in which their frames are scored.
        options: see there.
        on_frame: called after each frame, for a progress bar.

    Raises:
        SourceError: a source cannot be read, or no frame has labels.
        KeyboardInterrupt: before the first frame was done.
    """
    run = _Run(detector, sources, options or RunOptions(), on_frame)
    interrupted = run.all_sources()
    progress = run.progress
    if not progress.frames:
        raise SourceError(_nothing_to_score(sources, progress))
    warnings = []
    if interrupted:
        total = sum(len(source) for source in sources)
        warnings.append(f"The run was interrupted after {progress.count()} of {total} frames: these figures are a part")
    if progress.unlabelled:
        warnings.append(f"Frames without labels, left out: {progress.unlabelled}")
    return Gathered(
        frames=tuple(progress.frames),
        run={
            "mode": "checkpoint",
            "title": f"{checkpoint.file} on {_names_of(sources)}",
            "checkpoint": {**vars(checkpoint), "config": detector.config.name},
            "device": device_name(detector.device),
            "amp": detector.amp,
            "interrupted": interrupted,
            "sources": [
                {"name": source.name, "path": str(source.path or ""), "frames": len(source)} for source in sources
            ],
        },
        skipped=tuple(progress.skipped),
        warnings=(*warnings, *run.notes),
        scenes=source_scenes(sources),
        seconds=run.timer.seconds,
    )


def source_scenes(sources: Sequence[FrameSource]) -> Scenes:
    """The frames of `gather_checkpoint` by name; reads each source until all that are wanted were found."""

    def scenes(names: Collection[str]) -> Mapping[str, Frame]:
        found: dict[str, Frame] = {}
        for source in sources:
            prefix = _name(source, "", sources)
            wanted = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
            found |= {prefix + name: frame for name, frame in find_frames(source, wanted).items()}
        return found

    return scenes


class _Run:
    def __init__(
        self,
        detector: Detector,
        sources: Sequence[FrameSource],
        options: RunOptions,
        on_frame: Callable[[Progress], None],
    ) -> None:
        self._detector, self._sources, self._options, self._on_frame = detector, sources, options, on_frame
        self.progress = Progress()
        self.timer = StageTimer(detector.device)
        self.notes: dict[str, None] = {}

    def all_sources(self) -> bool:
        """Do every source; returns whether the user stopped it."""
        try:
            for source in self._sources:
                for frame in self._frames(source):
                    with interrupts_deferred():
                        self._do(source, frame)
        except KeyboardInterrupt:
            if not self.progress.frames:
                raise
            return True
        return False

    def _frames(self, source: FrameSource) -> Iterator[Frame]:
        frames = source.frames(self._skip)
        for _ in range(self._options.max_frames or len(source)):
            started = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            self.timer.seconds["read"].append(time.perf_counter() - started)
            yield frame

    def _do(self, source: FrameSource, frame: Frame) -> None:
        if frame.labels is None and self._options.labelled_only:
            self.progress.unlabelled += 1
            self._on_frame(self.progress)
            return
        try:
            detections = self._detector.detect(frame, self.timer)
        except FrameError as error:
            self._skip(error)
            return
        self.notes.update(dict.fromkeys(self._detector.notes(frame)))
        scored = evaluation_frame(
            _name(source, frame.name, self._sources),
            frame.labels or Labels3D.empty(),
            detections,
            frame.camera,
            frame.cam_T_lidar,
            stamp_ns=frame.stamp_ns if has_recorded_stamps(source) else None,
        )
        self.progress.frames.append(scored)
        self._on_frame(self.progress)

    def _skip(self, error: FrameError) -> None:
        self.progress.skipped.append(str(error))
        self._on_frame(self.progress)


def _name(source: FrameSource, frame_name: str, sources: Sequence[FrameSource]) -> str:
    """The frame's own name; with several sources, below that of its source (numbered where two are called the same)."""
    if len(sources) == 1:
        return frame_name
    alike = [other for other in sources if other.name == source.name]
    number = f"-{alike.index(source) + 1}" if len(alike) > 1 else ""
    return f"{source.name}{number}/{frame_name}"


def _names_of(sources: Sequence[FrameSource]) -> str:
    """For a title: all of two, the first of more."""
    names = [source.name for source in sources]
    return " and ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} others"


def _nothing_to_score(sources: Sequence[FrameSource], progress: Progress) -> str:
    where = ", ".join(source.name for source in sources)
    if progress.unlabelled:
        return (
            f"{where}: no frame of {progress.count()} has labels, so there is nothing to compare with; "
            "--results-only writes KITTI result files without comparing"
        )
    reason = f"; the first: {progress.skipped[0]}" if progress.skipped else ""
    return f"{where}: no frame of {progress.count()} can be used{reason}"
