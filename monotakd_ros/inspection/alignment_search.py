"""Whether another extrinsic, or other cloud stamps, would agree better with the images: search, and how sure that is.

The best candidate on the frames it was searched on always looks good. So the frames are halved, each half's best is
scored on the other half, and the improvement per frame, with its bootstrap interval, comes from there. Intervals of
angles and time come from drawing frames anew. An angle about which the score hardly changes cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from monotakd_ros.inspection.alignment import Alignment

COARSE_DEG = np.arange(-2.0, 2.01, 0.5)
FINE_STEPS_DEG = (0.4, 0.2, 0.1, 0.05)
LINE_DEG = np.arange(-2.5, 2.501, 0.1)
MAX_DEG = 2.5
AXES = "xyz"

MIN_FRAMES = 6
MIN_EDGES = 300
TELLING_DEG = 1.0
"""An axis can be told when turning the best extrinsic this far costs score, beyond chance."""
TELLING_LOSS = 0.08
"""... and this share of it."""
MIN_ROTATION_DEG = (0.3, 0.3, 0.5)
"""Smaller rotations about x, y, z are not reported: the edges of good recordings lie up to half of that off themselves.
Roll (z) moves the middle of the image least."""
MIN_IMPROVEMENT = 0.08
"""Share of the score that a correction must gain."""
MIN_AXIS_IMPROVEMENT = (0.08, 0.08, 0.12)
"""... and that an angle about x, y, z must gain against leaving it out. One scene alone may prefer some roll."""
MIN_SHIFT_MS = 30.0
"""Stamps that differ by less are left alone: a scan takes time, and drivers stamp its beginning, middle or end."""
MIN_SCORE = 0.08
"""Real recordings that fit reach twice this; below it, even a clear best may be chance."""
RESAMPLES = 300
BLOCK = 2
"""Neighbouring frames that are drawn together, since they resemble each other."""

NOWHERE = (
    f"depth edges meet image edges nowhere clearly, within {MAX_DEG:g} degrees and two clouds of what was recorded"
)

AGREES, ROTATION, SHIFT, BOTH, CANNOT_TELL = "agrees", "rotation", "shift", "rotation and shift", "cannot tell"


@dataclass(frozen=True)
class Estimate:
    """A number with the interval in which 95 % of redrawn samples have it.

    Attributes:
        value: best.
        low, high: the interval.
        can_tell: whether the score changes enough about it.
    """

    value: float
    low: float
    high: float
    can_tell: bool


@dataclass(frozen=True)
class AlignmentReport:
    """What the calibration check found.

    Attributes:
        verdict: one of the words above.
        reason: why it cannot tell; "" otherwise.
        frames: that were used.
        edges: depth edges in them.
        score: of the recording as it is; 0 is chance.
        best_score: of the best candidate.
        rotation_deg: per camera axis (x right, y down, z ahead), by which points are turned after `cam_T_lidar`.
        shift_ms: stamp of the clouds that agree best less that of their images.
        improvement: of the score, mean over frames, each with a candidate that was not searched on it.
        improved_share: share of the frames that gain, likewise.
        correction_deg: what would be applied: the axes that are certain, 0 elsewhere.
        correction_shift: clouds after the one paired by stamps that agree best; 0 when not certain.
        correction_ms: what is to be added to the clouds' stamps; 0 when not certain.
    """

    verdict: str
    reason: str = ""
    frames: int = 0
    edges: int = 0
    score: float = 0.0
    best_score: float = 0.0
    rotation_deg: dict[str, Estimate] = field(default_factory=dict)
    shift_ms: Estimate | None = None
    improvement: Estimate | None = None
    improved_share: float | None = None
    correction_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    correction_shift: int = 0
    correction_ms: float = 0.0


@dataclass(frozen=True)
class _Candidate:
    degrees: tuple[float, float, float]
    shift: int


RECORDED = _Candidate((0.0, 0.0, 0.0), 0)


def check_alignment(alignment: Alignment) -> AlignmentReport:
    """Search and judge."""
    frames, edges = alignment.num_frames, alignment.num_edges
    if frames < MIN_FRAMES or edges < MIN_EDGES:
        few = f"too few frames or depth edges: {frames} frames (needed: {MIN_FRAMES}), {edges} edges ({MIN_EDGES})"
        return AlignmentReport(CANNOT_TELL, few, frames, edges)
    search = _Search(alignment)
    everything = np.ones(frames)
    best = search.best(everything)
    draws = _draws(frames)
    rotation = {axis: search.angle(best, number, draws) for number, axis in enumerate(AXES)}
    shift = search.shift(best, draws)
    if search.mean(best) < MIN_SCORE or not (rotation["x"].can_tell and rotation["y"].can_tell):
        reason = NOWHERE
        score, best_score = search.mean(RECORDED), search.mean(best)
        return AlignmentReport(CANNOT_TELL, reason, frames, edges, score, best_score, rotation, shift)
    return _judged(search, best, rotation, shift, draws)


def _judged(
    search: _Search, best: _Candidate, rotation: dict[str, Estimate], shift: Estimate | None, draws: np.ndarray
) -> AlignmentReport:
    before, after = search.halves_scored()
    gains = after - before
    drawn = draws @ gains
    score = search.mean(RECORDED)
    improvement = Estimate(float(gains.mean()), *_interval(drawn), can_tell=True)
    is_better = improvement.low > 0 and improvement.value > MIN_IMPROVEMENT * abs(score)
    sure = [i for i, axis in enumerate(AXES) if is_better and _is_sure(search, best, i, rotation[axis])]
    shifted = bool(is_better and shift is not None and shift.can_tell and best.shift != 0)
    late = shift is not None and shift.can_tell and (shift.low > MIN_SHIFT_MS or shift.high < -MIN_SHIFT_MS)
    correction = search.with_axes(best, sure).degrees
    verdict = {(False, False): AGREES, (True, False): ROTATION, (False, True): SHIFT, (True, True): BOTH}
    return AlignmentReport(
        verdict=verdict[bool(sure), shifted or late],
        frames=len(gains),
        edges=search.alignment.num_edges,
        score=score,
        best_score=search.mean(best),
        rotation_deg=rotation,
        shift_ms=shift,
        improvement=improvement,
        improved_share=float((gains > 0).mean()),
        correction_deg=correction,
        correction_shift=best.shift if shifted else 0,
        correction_ms=-shift.value if shift is not None and (shifted or late) else 0.0,
    )


def _is_sure(search: _Search, best: _Candidate, axis: int, angle: Estimate) -> bool:
    """Whether an angle is large, certain, and earns its place: the others cannot make up for it."""
    if not angle.can_tell or abs(angle.value) < MIN_ROTATION_DEG[axis] or angle.low <= 0 <= angle.high:
        return False
    without = search.with_axes(best, [other for other in range(3) if other != axis])
    return search.mean(best) - search.mean(without) > MIN_AXIS_IMPROVEMENT[axis] * search.mean(best)


class _Search:
    """Coarse over yaw, pitch and shift, then step by step over all three angles. Scores per frame are kept."""

    def __init__(self, alignment: Alignment) -> None:
        self.alignment = alignment
        self._known: dict[_Candidate, np.ndarray] = {}

    def scores(self, candidate: _Candidate) -> np.ndarray:
        """(F,)."""
        if candidate not in self._known:
            self._known[candidate] = self.alignment.scores(candidate.degrees, candidate.shift)
        return self._known[candidate]

    def mean(self, candidate: _Candidate) -> float:
        return float(self.scores(candidate).mean())

    def best(self, weights: np.ndarray) -> _Candidate:
        """The candidate with the largest score under weights (F,) of the frames."""
        starts = (
            _Candidate((float(x), float(y), 0.0), shift)
            for shift in self.alignment.shifts
            for x in COARSE_DEG
            for y in COARSE_DEG
        )
        best = max(starts, key=lambda candidate: weights @ self.scores(candidate))
        return self._refined(best, weights, range(3))

    def with_axes(self, best: _Candidate, axes: Sequence[int]) -> _Candidate:
        """The best beside `best` that turns about these axes only."""
        degrees = tuple(angle if axis in axes else 0.0 for axis, angle in enumerate(best.degrees))
        return self._refined(replace(best, degrees=degrees), np.ones(self.alignment.num_frames), axes)

    def halves_scored(self) -> tuple[np.ndarray, np.ndarray]:
        """(F,) scores as recorded, and with the best of the half of the frames to which a frame does not belong."""
        half = (np.arange(self.alignment.num_frames) // BLOCK) % 2
        crossed = [self.scores(self.best((half == side).astype(np.float64))) for side in (1, 0)]
        return self.scores(RECORDED), np.where(half == 0, *crossed)

    def angle(self, best: _Candidate, axis: int, draws: np.ndarray) -> Estimate:
        """The angle about one axis, the rest at its best."""
        table = np.stack([self.scores(_turned(best, axis, float(angle))) for angle in LINE_DEG])
        middle = self.scores(best)
        sides = [self.scores(_turned(best, axis, best.degrees[axis] + side)) for side in (-TELLING_DEG, TELLING_DEG)]
        angles = np.array([_peak(LINE_DEG, column) for column in (table @ draws.T).T])
        return Estimate(best.degrees[axis], *_interval(angles), _tells(middle, sides, draws))

    def shift(self, best: _Candidate, draws: np.ndarray) -> Estimate | None:
        """How much later than the images the clouds that agree best are stamped, ms; None without neighbours."""
        shifts = self.alignment.shifts
        if len(shifts) < 2:
            return None
        table = np.stack([self.scores(_Candidate(best.degrees, shift)) for shift in shifts])
        beside = [table[i] for i, shift in enumerate(shifts) if abs(shift - best.shift) == 1]
        times = np.array([self.alignment.offsets_ms[shift] for shift in shifts])
        drawn = np.array([_peak(times, column) for column in (table @ draws.T).T])
        value = _peak(times, table.mean(axis=1))
        return Estimate(value, *_interval(drawn), _tells(table[shifts.index(best.shift)], beside, draws))

    def _refined(self, best: _Candidate, weights: np.ndarray, axes: Sequence[int]) -> _Candidate:
        for step in FINE_STEPS_DEG:
            best = self._climb(best, step, weights, axes)
        return best

    def _climb(self, start: _Candidate, step: float, weights: np.ndarray, axes: Sequence[int]) -> _Candidate:
        best, improved = start, True
        while improved:
            improved = False
            for axis in axes:
                for side in (-step, step):
                    other = _turned(best, axis, best.degrees[axis] + side)
                    inside = abs(other.degrees[axis]) <= MAX_DEG
                    if inside and weights @ self.scores(other) > weights @ self.scores(best) + 1e-12:
                        best, improved = other, True
        return best


def _turned(candidate: _Candidate, axis: int, angle: float) -> _Candidate:
    degrees = list(candidate.degrees)
    degrees[axis] = round(angle, 6)
    return _Candidate((degrees[0], degrees[1], degrees[2]), candidate.shift)


def _tells(middle: np.ndarray, sides: Sequence[np.ndarray], draws: np.ndarray) -> bool:
    """Whether moving to either side costs score beyond chance, and enough of it."""
    lost = np.stack([middle - side for side in sides])
    low = np.percentile(draws @ lost.T, 2.5, axis=0)
    return bool((low > 0).all() and (lost.mean(axis=1) > TELLING_LOSS * middle.mean()).all())


def _peak(places: np.ndarray, values: np.ndarray) -> float:
    """Where a parabola through the largest value and its neighbours is highest; at the rim, the rim."""
    top = int(np.argmax(values))
    if top in (0, len(values) - 1):
        return float(places[top])
    left, middle, right = values[top - 1 : top + 2]
    bend = left - 2 * middle + right
    offset = 0.0 if bend == 0 else 0.5 * (left - right) / bend
    return float(np.interp(top + offset, np.arange(len(places)), places))


def _draws(frames: int) -> np.ndarray:
    """(RESAMPLES, F) weights of frames drawn with replacement, in blocks; each row's mean is 1 / F."""
    block = np.arange(frames) // BLOCK
    count = int(block[-1]) + 1
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES)
    weights = drawn[:, block].astype(np.float64)
    return weights / weights.sum(axis=1, keepdims=True)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
