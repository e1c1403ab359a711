"""Which frames the report shows: the best, the worst, and those with the most confident wrong box.

Right, wrong and missed are those of `frame_verdict`, at each class's operating score. A frame is shown once. *Best*
have the greatest 2 right / (2 right + wrong + missed + 4): F1 as if four more mistakes had been made, so that a street
full of right boxes is better than a single one. *Worst* have most wrong and missed. *Confident wrong* have the wrong
box of highest score, whether or not it reaches the operating score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_counting import overlap_limit
from monotakd_ros.evaluation.overlaps import iou_bev_and_3d
from monotakd_ros.frame import DONT_CARE, NO_LOCATION, KittiFrame
from monotakd_ros.report.frame_verdict import FrameVerdict, judge

Kind = Literal["best", "worst", "confident_wrong"]
NEAR_M = 4.0
"""A wrong box this near to a labelled object is told by its distance to it."""
SPACING = 10
"""Frames of one kind lie this many frames apart where there are enough: neighbours in a drive look alike."""
HANDICAP = 4


@dataclass(frozen=True, eq=False)
class Choice:
    """One frame to show.

    Attributes:
        kind: why.
        name: of the frame.
        text: what is to be seen.
        verdict: on its boxes.
        named: index of the wrong result that `text` names; None where it names none.
    """

    kind: Kind
    name: str
    text: str
    verdict: FrameVerdict
    named: int | None = None


def choose_frames(
    frames: Sequence[EvaluationFrame], scores: Mapping[str, float | None], count: int = 2
) -> list[Choice]:
    """Choose up to `count` frames of each kind; fewer where fewer are of the kind, none of no frames.

    Args:
        frames: both sides, in time order.
        scores: class -> operating score; None shows no result of the class.
        count: frames of each kind, at most.

    Returns:
        The best, then the worst, then the confidently wrong, each with the foremost first.
    """
    verdicts = judge(frames, scores)
    ranks: dict[Kind, list[int]] = {
        "confident_wrong": _ranked(_worst_score(frame, item) for frame, item in zip(frames, verdicts)),
        "worst": _ranked(_badness(item) or None for item in verdicts),
        "best": _ranked(_goodness(item) or None for item in verdicts),
    }
    spacing = min(SPACING, len(frames) // (SPACING * max(count, 1)))
    chosen: dict[Kind, list[int]] = {kind: [] for kind in ranks}
    for _ in range(count):
        for kind, ranked in ranks.items():
            taken = {index for indices in chosen.values() for index in indices}
            chosen[kind] += _next(ranked, taken, chosen[kind], spacing)
    kinds: tuple[Kind, ...] = ("best", "worst", "confident_wrong")
    return [_choice(kind, frames[index], verdicts[index]) for kind in kinds for index in chosen[kind]]


def _ranked(keys: Iterable[float | None]) -> list[int]:
    """Indices by falling key; those of key None do not qualify."""
    qualified = [(index, key) for index, key in enumerate(keys) if key is not None]
    return [index for index, _ in sorted(qualified, key=lambda item: -item[1])]


def _next(ranked: list[int], taken: set[int], same_kind: list[int], spacing: int) -> list[int]:
    free = (index for index in ranked if index not in taken)
    return [index for index in free if all(abs(index - other) > spacing for other in same_kind)][:1]


def _goodness(verdict: FrameVerdict) -> float:
    right, mistakes = verdict.num_right, verdict.num_wrong + verdict.num_missed
    return 2 * right / (2 * right + mistakes + HANDICAP)


def _badness(verdict: FrameVerdict) -> float:
    mistakes = verdict.num_wrong + verdict.num_missed
    return mistakes + (1.0 / (2.0 + verdict.num_right) if mistakes else 0.0)


def _worst_score(frame: EvaluationFrame, verdict: FrameVerdict) -> float | None:
    return float(frame.results.score[verdict.wrong].max()) if verdict.wrong.any() else None


def _choice(kind: Kind, frame: EvaluationFrame, verdict: FrameVerdict) -> Choice:
    found = f"{verdict.num_right} of {int(verdict.counted.sum())} found"
    wrong = f"{verdict.num_wrong or 'none'} wrong"
    if kind == "best":
        return Choice(kind, frame.name, f"{found}, {wrong}", verdict)
    candidates = verdict.wrong & (verdict.shown | (kind == "confident_wrong"))
    if not candidates.any():
        return Choice(kind, frame.name, f"{found}, {wrong}", verdict)
    named = int(np.argmax(np.where(candidates, frame.results.score, -np.inf)))
    box = describe_wrong(frame, named) + ("" if verdict.shown[named] else ", under the operating score")
    text = f"{found}, {wrong}; the surest: {box}" if kind == "worst" else f"{box}; {found}, {wrong}"
    return Choice(kind, frame.name, text, verdict, named)


def describe_wrong(frame: EvaluationFrame, index: int) -> str:
    """E.g. "Car of score 0.93 at 31 m where nothing is labelled"; `index` is that of the wrong result."""
    results, name = frame.results, frame.results.names[index]
    if results.location_cam[index, 2] == NO_LOCATION:
        return f"{name} of score {results.score[index]:.2f} without a place in 3D"
    distance = float(np.hypot(*results.location_cam[index, [0, 2]]))
    what = f"{name} of score {results.score[index]:.2f} at {distance:.0f} m"
    return f"{what}{_what_is_there(frame.truth, results, index)}"


def _what_is_there(truth: KittiFrame, results: KittiFrame, index: int) -> str:
    name = results.names[index]
    offset = truth.location_cam - results.location_cam[index]
    apart = np.hypot(offset[:, 0], offset[:, 2])
    real = np.array([kind != DONT_CARE for kind in truth.names], dtype=bool)
    apart = np.where(real & (truth.location_cam[:, 2] != NO_LOCATION), apart, np.inf)
    same = np.array([kind.lower() == name.lower() for kind in truth.names], dtype=bool)
    if not (apart <= NEAR_M).any():
        return " where nothing is labelled"
    candidates = same & (apart <= NEAR_M)
    nearest = int(np.argmin(np.where(candidates, apart, np.inf) if candidates.any() else apart))
    if not same[nearest]:
        return f", {apart[nearest]:.1f} m from a labelled {truth.names[nearest]}"
    overlap, limit = _overlap_3d(truth, nearest, results, index), overlap_limit(name, "3d", "loose")
    if overlap > limit:
        return f" on a {name} that another box has found"
    return f", {apart[nearest]:.1f} m off the labelled {name} (3D overlap {overlap:.2f}, {limit:.2f} asked)"


def _overlap_3d(truth: KittiFrame, a: int, results: KittiFrame, b: int) -> float:
    sides = [(side.hwl[[i]], side.location_cam[[i]], side.rotation_y[[i]]) for side, i in ((truth, a), (results, b))]
    return float(iou_bev_and_3d(*sides)[1][0])
