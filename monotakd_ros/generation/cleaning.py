"""From the teacher's boxes to labels: every box gets a verdict with its reasons.

A label is learned from; an uncertain box is neither object nor background; a dropped one is as if it was not there.
Rules, in words: a score below the class's threshold, too few LiDAR points inside, an assistant that sees nothing near,
neighbouring clouds in which nothing like it appears: each makes a box uncertain, the last two only where the teacher
is not sure. Below the lowest threshold, or outside the image, it is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monotakd_ros.generation.settings import CleaningSettings

Status = Literal["label", "uncertain", "dropped"]
AGREEMENT_SHARE = 0.05
"""How much further the assistant's box may be per metre of distance."""


@dataclass(frozen=True, eq=False)
class SeenBoxes:
    """Boxes of one detector in one frame, best score first.

    Attributes:
        boxes_lidar: (N, 7) float64, in the recorded lidar frame.
        scores: (N,) float64.
        names: N class names.
    """

    boxes_lidar: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def empty(cls) -> SeenBoxes:
        """Nothing was seen."""
        return cls(np.zeros((0, 7)), np.zeros(0), ())


@dataclass(frozen=True, eq=False)
class Neighbour:
    """What the teacher sees in a cloud next to the frame's.

    Attributes:
        seen: its boxes, carried into the frame's lidar by the ego motion where that is known.
        apart_s: time between both, s.
    """

    seen: SeenBoxes
    apart_s: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about N boxes of the teacher.

    Attributes:
        num_points: (N,) int64 LiDAR points inside.
        in_image: (N,) float64 share of the box's projection that lies in the image.
        assistant: what the assistant sees; None without one.
        neighbours: what neighbouring clouds show; empty where there are none.
    """

    num_points: np.ndarray
    in_image: np.ndarray
    assistant: SeenBoxes | None
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a box, and why it is no label."""

    status: Status
    reasons: tuple[str, ...] = ()


def judge(teacher: SeenBoxes, evidence: Evidence, settings: CleaningSettings) -> list[Verdict]:
    """The verdict on every box, in their order."""
    assistant_agrees = _agreement(teacher, evidence.assistant, settings)
    seen_beside = _seen_beside(teacher, evidence.neighbours, settings)
    verdicts = []
    for index, (name, score) in enumerate(zip(teacher.names, teacher.scores)):
        gone = _dropped(score, evidence.in_image[index], settings)
        doubts = {
            "score": score < settings.threshold_of(name),
            "points": evidence.num_points[index] < settings.min_points,
            "assistant": score < settings.agreement_below and not assistant_agrees[index],
            "neighbours": score < settings.neighbours_below and not seen_beside[index],
        }
        reasons = tuple(reason for reason, holds in doubts.items() if holds)
        verdicts.append(Verdict("dropped", gone) if gone else Verdict("uncertain" if reasons else "label", reasons))
    return verdicts


def _dropped(score: float, in_image: float, settings: CleaningSettings) -> tuple[str, ...]:
    reasons = {"score": score < settings.ignore_threshold, "outside": not in_image >= settings.min_in_image}
    return tuple(reason for reason, holds in reasons.items() if holds)


def _agreement(teacher: SeenBoxes, assistant: SeenBoxes | None, settings: CleaningSettings) -> np.ndarray:
    """(N,) bool: whether the assistant sees something of the class near each box; all true without an assistant."""
    if assistant is None:
        return np.ones(len(teacher), dtype=bool)
    limit_m = settings.agreement_m + AGREEMENT_SHARE * np.linalg.norm(teacher.boxes_lidar[:, :2], axis=1)
    return _nearest_m(teacher, assistant) <= limit_m


def _seen_beside(teacher: SeenBoxes, neighbours: tuple[Neighbour, ...], settings: CleaningSettings) -> np.ndarray:
    """(N,) bool: whether any neighbouring cloud shows what each box could be; all true without neighbours."""
    if not neighbours:
        return np.ones(len(teacher), dtype=bool)
    near = [
        _nearest_m(teacher, neighbour.seen) <= settings.neighbours_m + settings.max_speed_mps * neighbour.apart_s
        for neighbour in neighbours
    ]
    return np.any(near, axis=0)


def _nearest_m(boxes: SeenBoxes, others: SeenBoxes) -> np.ndarray:
    """(N,) distance over ground to the nearest of the other boxes of the same class; infinite without one."""
    offsets = boxes.boxes_lidar[:, None, :2] - others.boxes_lidar[None, :, :2]
    same = np.array(boxes.names, dtype=object)[:, None] == np.array(others.names, dtype=object)[None]
    return np.where(same, np.linalg.norm(offsets, axis=2), np.inf).min(axis=1, initial=np.inf)
