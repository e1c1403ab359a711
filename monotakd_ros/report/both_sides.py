"""What every way of gathering asks of the two sides: the same frames, and what a reader of the figures must know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from monotakd_ros.data.recorded_boxes import BoxRecording
from monotakd_ros.errors import SourceError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import DONT_CARE

NAMED = 5
"""So many names stand in a message; the others are counted."""


def some_of(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def require_the_same_frames(
    faults: Mapping[str, Sequence[str]], evaluated: int, allow_missing: bool, where: str
) -> None:
    """Refuse two sides that do not hold the same frames, unless that was asked for.

    Args:
        faults: what is wrong ("frames without a result file"), and the names of the frames.
        evaluated: number of frames that both sides have.
        allow_missing: evaluate those.
        where: both sides, for the message.

    Raises:
        SourceError: there are faults that were not allowed, or no frame is left.
    """
    told = [f"{fault}: {len(names)} ({some_of(names)})" for fault, names in faults.items() if names]
    if not evaluated:
        raise SourceError(f"{where}: no frame is on both sides" + (f": {'; '.join(told)}" if told else ""))
    if told and not allow_missing:
        raise SourceError(
            f"{where}: the two sides differ: {'; '.join(told)}. --allow-missing evaluates the frames that both sides "
            f"have, {evaluated}"
        )


def warnings_about(frames: Iterable[EvaluationFrame], class_names: Sequence[str]) -> list[str]:
    """Sentences about unknown truncation and occlusion, and about classes that are not evaluated."""
    evaluated = {name.lower() for name in class_names}
    objects = unseen = 0
    unknown: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for frame in frames:
        is_object = np.array([name != DONT_CARE for name in frame.truth.names], dtype=bool)
        objects += int(is_object.sum())
        unknown["truncation"] += int((frame.truth.truncation[is_object] < 0).sum())
        unknown["occlusion"] += int((frame.truth.occlusion[is_object] < 0).sum())
        others.update(name for name in frame.results.names if name.lower() not in evaluated)
        unseen += int((frame.truth.bbox_px[is_object] == -1).all(axis=1).sum())
    told = [
        f"{what} is unknown for {count} of {objects} ground-truth objects: it excludes them from no difficulty"
        for what, count in unknown.items()
        if count
    ]
    if unseen:
        told.append(f"ground-truth objects without a 2D box, which every difficulty ignores: {unseen} of {objects}")
    if others:
        listed = some_of([f"{name} ({count})" for name, count in others.most_common()])
        told.append(f"results of classes that are not evaluated: {listed}")
    return told


def warnings_about_recording(recording: BoxRecording, what: str) -> list[str]:
    """Sentences about recorded boxes that are left out or odd; `what` they are, e.g. "detections"."""
    told = []
    reasons = Counter(reason for array in recording.arrays for reason in array.left_out)
    if reasons:
        first = next(array.stamp_ns for array in recording.arrays if array.left_out)
        listed = ", ".join(f"{count} with {reason}" for reason, count in reasons.most_common())
        told.append(f"{what} that cannot be used: {reasons.total()} ({listed}), the first at stamp {first} ns")
    flat = [
        (array.stamp_ns, count) for array in recording.arrays if (count := int((array.sizes <= 0).any(axis=1).sum()))
    ]
    if flat:
        told.append(
            f"{what} with a size of zero or less, which overlap nothing in 3D: {sum(count for _, count in flat)}, the "
            f"first at stamp {flat[0][0]} ns"
        )
    if recording.repeated:
        told.append(f"arrays of {what} that a later one of the same stamp replaces: {recording.repeated}")
    return told
