"""Which ground truth and which results one figure counts, and the events that follow (points 1 to 5 of `kitti_ap`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.evaluation.kitti_pairs import BoxTable, PairTable
from monotakd_ros.evaluation.matching import Candidates, best_scored_hits, make_candidates, match_at_limits
from monotakd_ros.evaluation.precision_events import PrecisionEvents
from monotakd_ros.frame import DONT_CARE, NO_LOCATION

NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting"}
STRICT_OVERLAP = {"car": 0.7}
LOOSE_OVERLAP = {"car": 0.5}
OTHER_STRICT_OVERLAP, OTHER_LOOSE_OVERLAP = 0.5, 0.25
DONT_CARE_SHARE = 0.5
"""A DontCare region excuses what it covers more of, where KITTI's rule for the image does not apply."""


@dataclass(frozen=True)
class Selection:
    """What counts as ground truth; the rest of the class is ignored, neither to be found nor wrong to find.

    Attributes:
        min_height_px: taller in the image than this; results whose height, rounded down, is less are ignored.
        occlusion: from, to (inclusive).
        truncation: over, up to (inclusive).
        unknown_passes: whether unknown occlusion or truncation (-1) excludes nothing.
        distance_m: from, to (exclusive), over ground. Results outside are ignored unless they match.
        excuse_dont_care: whether DontCare regions excuse wrong results for every metric, not in the image only.
    """

    min_height_px: float = 0.0
    occlusion: tuple[int, int] = (0, 3)
    truncation: tuple[float, float] = (-1.0, 1.0)
    unknown_passes: bool = True
    distance_m: tuple[float, float] = (0.0, np.inf)
    excuse_dont_care: bool = False


EASY = Selection(40, (0, 0), (-1.0, 0.15))
MODERATE = Selection(25, (0, 1), (-1.0, 0.3))
HARD = Selection(25, (0, 2), (-1.0, 0.5))
DIFFICULTIES = {"easy": EASY, "moderate": MODERATE, "hard": HARD}


def overlap_limit(class_name: str, metric: str, overlaps: str) -> float:
    """The overlap a match must exceed: "strict" is the benchmark's; "loose" relaxes bev and 3d."""
    if overlaps == "loose" and metric in ("bev", "3d"):
        return LOOSE_OVERLAP.get(class_name.lower(), OTHER_LOOSE_OVERLAP)
    return STRICT_OVERLAP.get(class_name.lower(), OTHER_STRICT_OVERLAP)


@dataclass(frozen=True, eq=False)
class Counting:
    """One class under one selection, metric and overlap limit.

    Attributes:
        candidates: ground truth with the results that may match it.
        truth_ignored: bool of every ground truth.
        counted: bool of every ground truth: to be found.
        result_ignored: bool of every result: too small to count.
        punished: bool of every result: wrong if it matches nothing.
    """

    candidates: Candidates
    truth_ignored: np.ndarray
    counted: np.ndarray
    result_ignored: np.ndarray
    punished: np.ndarray


def count(pairs: PairTable, class_name: str, selection: Selection, metric: str, limit: float) -> Counting:
    """Decide what counts.

    Args:
        pairs: both sides.
        class_name: evaluated class; upper and lower case are the same.
        selection: difficulty, or another choice of ground truth.
        metric: "2d", "bev" or "3d".
        limit: overlap that a match must exceed.
    """
    truth, found = pairs.truth, pairs.found
    exists, ignored = _ground_truth_state(truth, class_name, selection)
    small = np.trunc(np.abs(found.heights_px())) < selection.min_height_px
    usable = small | (found.kind == class_name.lower())
    a, b = pairs.index
    chosen = (pairs.overlap[metric] > limit) & exists[a] & usable[b]
    table = make_candidates(a[chosen], b[chosen], pairs.overlap[metric][chosen], truth.frame)
    punished = usable & ~small
    if selection.distance_m != (0.0, np.inf):
        punished &= _within(found.distances(), selection.distance_m)
    if metric == "2d" or selection.excuse_dont_care:
        excused = limit if metric == "2d" else DONT_CARE_SHARE
        punished &= ~(pairs.dont_care_share > excused)
    if metric == "bev":
        punished &= ~_beside_dont_care(pairs)
    return Counting(table, ignored, exists & ~ignored, small, punished)


def events(pairs: PairTable, counting: Counting) -> PrecisionEvents:
    """The events of one figure."""
    truth, found, table = pairs.truth, pairs.found, counting.candidates
    hits = best_scored_hits(table, counting.truth_ignored, found.score, counting.result_ignored)
    involved = np.unique(table.result[table.result >= 0])
    alone = counting.punished.copy()
    alone[involved] = False
    parts = [_events_of_lone(found, alone), _events_of_matches(pairs, counting, involved)]
    counted = np.bincount(truth.frame[counting.counted], minlength=truth.num_frames)
    return PrecisionEvents.build(
        counted, (found.frame[hits], found.score[hits]), tuple(np.concatenate(columns) for columns in zip(*parts))
    )


def verdicts(pairs: PairTable, counting: Counting) -> tuple[np.ndarray, np.ndarray]:
    """Whether each result (N,) is right, and whether it is wrong, when all results take part; neither if ignored."""
    found, table = pairs.found, counting.candidates
    everything = np.full((len(table.truth), 1), -np.inf)
    column, taken = match_at_limits(table, counting.truth_ignored, found.score, counting.result_ignored, everything)
    hit, _ = _hits(pairs, counting, column)
    right = np.zeros(len(found.frame), dtype=bool)
    right[table.result[np.arange(len(table.truth)), column[:, 0]][hit[:, 0]]] = True
    return right, counting.punished & ~taken[:, 0]


def _ground_truth_state(truth: BoxTable, class_name: str, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Whether each ground truth exists for the class (own or neighbour), and whether it is ignored."""
    own = truth.kind == class_name.lower()
    neighbour = truth.kind == NEIGHBOURS.get(class_name.lower(), "")
    (least, most), (over, up_to) = selection.occlusion, selection.truncation
    occlusion_fits = (truth.occlusion >= least) & (truth.occlusion <= most)
    truncation_fits = (truth.truncation > over) & (truth.truncation <= up_to)
    if selection.unknown_passes:
        occlusion_fits |= truth.occlusion < 0
        truncation_fits |= truth.truncation < 0
    tall = truth.heights_px() > selection.min_height_px
    fits = occlusion_fits & truncation_fits & tall & _within(truth.distances(), selection.distance_m)
    return own | neighbour, neighbour | ~fits


def _beside_dont_care(pairs: PairTable) -> np.ndarray:
    """(N,) 2D results in a frame with DontCare: both have place -1000 and size -1, so from above they coincide."""
    truth, found = pairs.truth, pairs.found
    hwl, location_cam, _ = found.boxes
    flat = (location_cam[:, [0, 2]] == NO_LOCATION).all(axis=1) & (hwl[:, 1:] == -1).all(axis=1)
    return flat & np.isin(found.frame, truth.frame[truth.kind == DONT_CARE.lower()])


def _within(distances: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (distances >= limits[0]) & (distances < limits[1])


def _events_of_lone(found: BoxTable, alone: np.ndarray) -> tuple[np.ndarray, ...]:
    """Results that no ground truth could match: wrong at their own score."""
    number = int(alone.sum())
    nothing = np.zeros(number, dtype=np.int64)
    return found.frame[alone], found.score[alone], nothing, np.ones(number, dtype=np.int64), np.zeros(number)


def _events_of_matches(pairs: PairTable, counting: Counting, involved: np.ndarray) -> tuple[np.ndarray, ...]:
    """Steps of the counts of results that could match, at the scores of their own frame."""
    found, table = pairs.found, counting.candidates
    if not len(involved):
        return _events_of_lone(found, np.zeros(len(found.frame), dtype=bool))
    frames, levels = _levels(found.frame[involved], found.score[involved])
    small = counting.result_ignored[involved]
    compact = Candidates(
        table.truth, table.frame, table.step, _compact(table.result, involved, len(found.frame)), table.overlap
    )
    limits = levels[np.searchsorted(frames, table.frame)]
    column, taken = match_at_limits(compact, counting.truth_ignored, found.score[involved], small, limits)
    right, similarity = _hits(pairs, counting, column)
    place = np.searchsorted(frames, found.frame[involved])
    left = counting.punished[involved][:, None] & ~taken & (found.score[involved][:, None] >= levels[place])
    shape = levels.shape
    totals = (
        _sum_by_row(right.astype(np.int64), np.searchsorted(frames, table.frame), shape),
        _sum_by_row(left.astype(np.int64), place, shape),
        _sum_by_row(similarity, np.searchsorted(frames, table.frame), shape),
    )
    steps = [np.diff(total, axis=1, prepend=np.zeros((shape[0], 1), dtype=total.dtype)) for total in totals]
    changed = (steps[0] != 0) | (steps[1] != 0) | (steps[2] != 0)
    of_frame = np.broadcast_to(frames[:, None], shape)
    return of_frame[changed], levels[changed], *(step[changed] for step in steps)


def _levels(frame: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (K,), rising, and the distinct scores of each, falling, (K, T); the lowest is repeated to fill up."""
    distinct = np.unique(np.column_stack([frame, -score]), axis=0)
    frames, start, counts = np.unique(distinct[:, 0].astype(np.int64), return_index=True, return_counts=True)
    position = np.minimum(np.arange(counts.max())[None], counts[:, None] - 1)
    return frames, -distinct[start[:, None] + position, 1]


def _compact(result: np.ndarray, involved: np.ndarray, total: int) -> np.ndarray:
    """Indices into all results as indices into `involved`; -1 stays."""
    place = np.full(total + 1, -1, dtype=np.int64)
    place[involved] = np.arange(len(involved))
    return place[result]


def _hits(pairs: PairTable, counting: Counting, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(G, T) whether each row is a true positive at each level, and its orientation similarity."""
    table = counting.candidates
    result = np.take_along_axis(table.result, np.maximum(column, 0), axis=1)
    ignored = counting.truth_ignored[table.truth][:, None]
    hit = (column >= 0) & ~ignored & ~counting.result_ignored[result]
    turned = pairs.truth.alpha[table.truth][:, None] - pairs.found.alpha[result]
    return hit, np.where(hit, 0.5 * (1.0 + np.cos(turned)), 0.0)


def _sum_by_row(values: np.ndarray, row: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    sums = np.zeros(shape, dtype=values.dtype)
    np.add.at(sums, row, values)
    return sums
