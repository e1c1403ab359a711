"""Both sides from a bag of recorded Detection3DArray, of this package or any other detector, and its ground truth.

Arrays are matched with labelled frames by stamp; where the boxes stand in another frame than the camera's, tf carries
them there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.data.boxes_from_msg import RecordedBoxes
from monotakd_ros.data.recorded_boxes import BoxRecording, read_detections
from monotakd_ros.data.source import DEFAULT_OPTIONS, SourceOptions, is_bag
from monotakd_ros.errors import BagError, ConfigError, SourceError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES
from monotakd_ros.report.both_sides import (
    require_the_same_frames,
    some_of,
    warnings_about_recording,
)
from monotakd_ros.report.box_placing import Transforms, results_of
from monotakd_ros.report.gathered import Gathered
from monotakd_ros.report.label_side import LabelledFrame, LabelSide, read_label_side
from monotakd_ros.report.stamp_matching import match_stamps

NS_PER_S = 1_000_000_000
MAX_AGE_S = 5.0
"""Bag time minus stamp is a latency only within this; beyond, the two are of different clocks."""


def gather_bag(
    detections: Path,
    labels: Path,
    *,
    detections_topic: str | None = None,
    ground_truth_topic: str | None = None,
    class_map: Mapping[str, str] | None = None,
    tolerance_s: float = 0.05,
    allow_missing: bool = False,
    source_options: SourceOptions = DEFAULT_OPTIONS,
    class_names: Sequence[str] = KITTI_CLASSES,
) -> Gathered:
    """Read both sides.

    Args:
        detections: rosbag1 or rosbag2 with Detection3DArray; images are not needed.
        labels: see `read_label_side`; may be the same bag.
        detections_topic: None finds the only one that is not named as ground truth.
        ground_truth_topic: None finds the one named so.
        class_map: class names or ids of the recording -> KITTI types; the case of names does not matter.
        tolerance_s: greatest difference between the stamps of an array and of its frame.
        allow_missing: evaluate the frames that both sides have where they differ.
        source_options: topics of the labels' source, where it has several.
        class_names: classes to evaluate.

    Raises:
        SourceError: frames lack on a side (named and counted) and `allow_missing` is not set; no frame is on both
            sides; no detection is of a class that is evaluated.
        BagError: topics are missing or ambiguous; tf does not connect the boxes' frame and the camera's (with
            `allow_missing`: in no frame).
        ConfigError: `tolerance_s` or `class_map` is not usable.
    """
    if not (np.isfinite(tolerance_s) and tolerance_s >= 0):
        raise ConfigError(f"tolerance: expected seconds >= 0, got {tolerance_s}")
    if not detections.exists():
        raise SourceError(f"{detections}: no such file or folder")
    class_map = dict(class_map or {})
    recording = read_detections(detections, detections_topic, class_map, source_options.camera_info_topic)
    _require_an_evaluated_class(recording, class_names)
    truth_topic = ground_truth_topic or source_options.ground_truth_topic
    options = replace(source_options, ground_truth_topic=truth_topic)
    side = read_label_side(labels, recording, class_map, options)
    side, pairs = _match(side, recording, round(tolerance_s * NS_PER_S))
    labelled = [(i, j) for i, j in pairs if side.frames[i].truth is not None]
    missing, extra = _unmatched(side, recording, pairs)
    faults = {"labelled frames without an array": missing, "arrays of no labelled frame": extra}
    require_the_same_frames(faults, len(labelled), allow_missing, _both(recording, side, tolerance_s))
    transforms = Transforms(recording.geometry, tuple(path for path in (detections, side.path) if is_bag(path)))
    frames, unplaced = _placed(recording, side, labelled, transforms, allow_missing)
    if not side.has_stamps:
        frames = [replace(frame, stamp_ns=None) for frame in frames]
    return Gathered(
        frames=_with_covariances_if_any(frames),
        run=_run(recording, side, labels, class_map, tolerance_s, pairs),
        missing=tuple(missing),
        extra=tuple(extra),
        skipped=(*side.skipped, *recording.unreadable, *unplaced),
        warnings=(*side.warnings, *warnings_about_recording(recording, "detections")),
        scenes=side.scenes,
        seconds=_ages(recording.arrays),
    )


def _require_an_evaluated_class(recording: BoxRecording, class_names: Sequence[str]) -> None:
    found = Counter(name for array in recording.arrays for name in array.names)
    if found and not {name.lower() for name in found} & {name.lower() for name in class_names}:
        listed = some_of([f"{name!r} ({count})" for name, count in found.most_common()])
        raise SourceError(
            f"{recording.path}: topic {recording.topic}: no detection is a {' or '.join(class_names)}; the classes "
            f"are {listed}: name them with --class-map FROM=TO, e.g. {next(iter(found))}=Car"
        )


def _match(side: LabelSide, recording: BoxRecording, tolerance_ns: int) -> tuple[LabelSide, list[tuple[int, int]]]:
    """Pairs of frame and array; frames without stamps of their own take the arrays' where that is all they lack."""
    stamps_ns = [array.stamp_ns for array in recording.arrays]
    pairs = match_stamps([frame.stamp_ns for frame in side.frames], stamps_ns, tolerance_ns)
    if pairs or side.has_stamps or len(stamps_ns) != len(side.frames):
        return side, pairs
    frames = tuple(frame._replace(stamp_ns=stamp_ns) for frame, stamp_ns in zip(side.frames, stamps_ns))
    warning = f"{side.path} has no stamps: its frames are matched with the arrays by order"
    stamped = replace(side, frames=frames, has_stamps=True, warnings=(*side.warnings, warning))
    return stamped, [(i, i) for i in range(len(frames))]


def _unmatched(side: LabelSide, recording: BoxRecording, pairs: list[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Names of labelled frames without an array, and of arrays (by frame, else by stamp) without a labelled frame."""
    found, frame_of = {i for i, _ in pairs}, {j: side.frames[i] for i, j in pairs}
    missing = [frame.name for i, frame in enumerate(side.frames) if frame.truth is not None and i not in found]
    extra = []
    for j, array in enumerate(recording.arrays):
        frame = frame_of.get(j)
        if frame is None or frame.truth is None:
            extra.append(f"stamp {array.stamp_ns} ns" if frame is None else frame.name)
    return missing, extra


def _both(recording: BoxRecording, side: LabelSide, tolerance_s: float) -> str:
    first, last = recording.arrays[0].stamp_ns, recording.arrays[-1].stamp_ns
    return (
        f"detections {recording.path} ({recording.topic}, stamps {first} to {last} ns), labels {side.path} (stamps "
        f"{side.frames[0].stamp_ns} to {side.frames[-1].stamp_ns} ns), matched within {tolerance_s:g} s"
    )


def _placed(
    recording: BoxRecording,
    side: LabelSide,
    labelled: Sequence[tuple[int, int]],
    transforms: Transforms,
    allow_missing: bool,
) -> tuple[list[EvaluationFrame], list[str]]:
    """The frames, and the reasons of those that tf cannot place, as at the start of a recording."""
    frames: list[EvaluationFrame] = []
    unplaced: list[str] = []
    for i, j in labelled:
        try:
            frames.append(_frame(recording, recording.arrays[j], side.frames[i], transforms))
        except BagError as error:
            unplaced.append(str(error))
            if not allow_missing or len(unplaced) == len(labelled):
                raise
    return frames, unplaced


def _frame(
    recording: BoxRecording, array: RecordedBoxes, frame: LabelledFrame, transforms: Transforms
) -> EvaluationFrame:
    where = f"{recording.path}: topic {recording.topic}, stamp {array.stamp_ns} ns"
    own = {frame.lidar_frame_id: frame.cam_T_lidar} if frame.lidar_frame_id else {}
    to_camera = transforms.to_camera(frame.camera_frame_ids, array.stamp_ns, where, own)
    results, covariance_cam = results_of(array, frame.camera, frame.cam_T_lidar, to_camera)
    return EvaluationFrame(frame.name, frame.truth, results, covariance_cam, frame.stamp_ns)


def _with_covariances_if_any(frames: list[EvaluationFrame]) -> tuple[EvaluationFrame, ...]:
    """Covariances that are zero in every frame say that the detector gives none."""
    if any(np.any(frame.covariance_cam) for frame in frames):
        return tuple(frames)
    return tuple(replace(frame, covariance_cam=None) for frame in frames)


def _ages(arrays: tuple[RecordedBoxes, ...]) -> dict[str, list[float]]:
    """Seconds from an image's stamp to the recording of its boxes, where bag and stamps have one clock."""
    ages_s = [array.age_ns / NS_PER_S for array in arrays if array.age_ns is not None]
    live = len(ages_s) == len(arrays) and all(0 <= age <= MAX_AGE_S for age in ages_s) and any(ages_s)
    return {"age": ages_s} if live else {}


def _run(
    recording: BoxRecording,
    side: LabelSide,
    labels: Path,
    class_map: Mapping[str, str],
    tolerance_s: float,
    pairs: list[tuple[int, int]],
) -> dict[str, Any]:
    apart_ns = [abs(side.frames[i].stamp_ns - recording.arrays[j].stamp_ns) for i, j in pairs]
    return {
        "mode": "detections",
        "title": f"{recording.path.resolve().stem} against {side.name}",
        "results": str(recording.path),
        "labels": str(labels),
        "sources": [{"name": side.name, "path": str(side.path), "frames": len(side.frames)}],
        "detections_topic": recording.topic,
        "ground_truth_topic": side.ground_truth_topic,
        "class_map": dict(class_map),
        "tolerance_s": tolerance_s,
        "greatest_stamp_difference_s": max(apart_ns) / NS_PER_S,
    }
