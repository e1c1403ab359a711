"""Whether the covariance of predicted positions is honest: do 95 % of the true centres lie in the 95 % ellipsoids?

In words: results with a covariance that are paired with ground truth (`association`) at or above the operating score
count. For each, d^2 = e^T C^+ e with e the true geometric centre minus the predicted one and C the covariance, cam. If
errors are normal with covariance C, then d^2 is distributed as chi-square with 3 degrees of freedom. Observed coverage
at level p is the share of pairs with d^2 within that distribution's p-quantile; an honest covariance gives p.

A singular C (a detector that states its doubt along some axes only, such as depth) is judged on the axes it speaks of:
C^+ is the pseudo-inverse, and the degrees of freedom are C's rank. Errors along its other axes are not judged. C that
is zero, not finite or without any positive eigenvalue says nothing: the pair is left out.

`scale_to_95` is the factor by which all standard deviations must grow (or shrink, below 1) for 95 % of the true
centres to be inside. Along the ray, the error's part on the unit vector from the camera to the predicted centre is
compared with 1.96 standard deviations of C on it. Pairs are what association found, so errors beyond its limits are
missing; the interval takes pairs as independent, which neighbouring frames are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from monotakd_ros.evaluation.association import associate, operating_point
from monotakd_ros.evaluation.errors import centers
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.viewing_ray import viewing_ray

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
NOMINAL = 0.95
NORMAL_95 = 1.959963984540054
"""The standard normal distribution is within +- this 95 % of the time."""
CHI_SQUARE_95 = (np.nan, 3.841458820694124, 5.991464547107979, 7.814727903251179)
"""The 95 % quantile of chi-square with 0 (none), 1, 2, 3 degrees of freedom."""
RANK_TOLERANCE = 1e-9
"""Eigenvalues below this share of the largest count as zero."""


def coverage_section(
    frames: Sequence[EvaluationFrame], class_names: Sequence[str], score: float | None = None
) -> dict[str, Any] | None:
    """The report's "coverage".

    Args:
        frames: both sides.
        class_names: classes to measure.
        score: results below it are dropped; each class's score of best F1 when not given.

    Returns:
        class -> {"count", "levels", "observed", "inside_95", "interval_95", "scale_to_95", "along_ray_inside_95",
        "median_sigma_along_ray_m"}, None for what has no value; None as a whole if no result has a covariance.
    """
    given = [frame.covariance_cam for frame in frames if frame.covariance_cam is not None]
    if not any(np.any(covariance) for covariance in given):
        return None
    return {name: _class_coverage(frames, name, score) for name in class_names}


def squared_distances(error: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared Mahalanobis distance and the rank of the covariance.

    Args:
        error: (N, 3) m.
        covariance: (N, 3, 3) m^2.

    Returns:
        (N,) float64, and (N,) int64 of 0..3; the distance is 0 where the rank is 0.
    """
    finite = np.isfinite(covariance).all(axis=(1, 2))
    covariance = np.where(finite[:, None, None], covariance, 0.0)
    variances, axes = np.linalg.eigh(0.5 * (covariance + covariance.transpose(0, 2, 1)))
    valid = variances > np.maximum(RANK_TOLERANCE * variances[:, -1:], 0.0)
    part = (axes * error[:, :, None]).sum(axis=1)
    squares = np.divide(part**2, variances, out=np.zeros_like(part), where=valid)
    return squares.sum(axis=1), valid.sum(axis=1)


def chi_square_cdf(value: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """(N,) share of the chi-square distribution below `value` (N,) >= 0, for 1, 2 or 3 degrees of freedom (N,).

    Closed forms: erf(sqrt(x / 2)) for 1; 1 - exp(-x / 2) for 2; that of 1 minus sqrt(2 x / pi) exp(-x / 2) for 3.
    """
    one = np.array([math.erf(math.sqrt(0.5 * x)) for x in value.tolist()])
    tail = np.exp(-0.5 * value)
    return np.choose(degrees - 1, [one, 1.0 - tail, one - np.sqrt(2.0 / np.pi * value) * tail])


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share of which `hits` of `count` > 0 were observed (Wilson's score interval)."""
    share, square = hits / count, NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _class_coverage(frames: Sequence[EvaluationFrame], class_name: str, score: float | None) -> dict[str, Any]:
    error, center, covariance = _pairs_with_covariance(frames, class_name, score)
    squared, rank = squared_distances(error, covariance)
    known = rank > 0
    share = chi_square_cdf(squared[known], rank[known])
    return {
        "count": len(share),
        "levels": list(LEVELS),
        "observed": [float((share <= level).mean()) if len(share) else None for level in LEVELS],
        **_at_95(squared[known] / np.array(CHI_SQUARE_95)[rank[known]]),
        **_along_ray(error[known], center[known], covariance[known]),
    }


def _pairs_with_covariance(
    frames: Sequence[EvaluationFrame], class_name: str, score: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True minus predicted centre (P, 3), predicted centre (P, 3) and covariance (P, 3, 3) of the pairs that count."""
    association = associate(frames, class_name)
    pairs = association.pairs.at_least(operating_point(association, score).score)
    center = centers([frames[f].results for f in pairs.frame], pairs.result)
    true_center = centers([frames[f].truth for f in pairs.frame], pairs.truth)
    unknown = np.zeros((3, 3))
    given = [(frames[f].covariance_cam, row) for f, row in zip(pairs.frame, pairs.result)]
    covariance = np.array([unknown if of_frame is None else of_frame[row] for of_frame, row in given])
    return true_center - center, center, covariance.reshape(-1, 3, 3).astype(np.float64)


def _at_95(ratio: np.ndarray) -> dict[str, Any]:
    """Figures at the 95 % ellipsoid, from (N,) squared distance over that of the ellipsoid's surface."""
    if not len(ratio):
        return {"inside_95": None, "interval_95": None, "scale_to_95": None}
    inside = int((ratio <= 1).sum())
    enough = math.ceil(NOMINAL * len(ratio) - 1e-9)
    return {
        "inside_95": inside / len(ratio),
        "interval_95": list(wilson_interval(inside, len(ratio))),
        "scale_to_95": float(np.sqrt(np.sort(ratio)[enough - 1])),
    }


def _along_ray(error: np.ndarray, center: np.ndarray, covariance: np.ndarray) -> dict[str, Any]:
    ray = viewing_ray(center)
    variance = np.einsum("ni,nij,nj->n", ray, covariance, ray)
    known = variance > 0
    if not known.any():
        return {"along_ray_inside_95": None, "median_sigma_along_ray_m": None}
    sigma, off = np.sqrt(variance[known]), np.abs((error * ray).sum(axis=1)[known])
    return {
        "along_ray_inside_95": float((off <= NORMAL_95 * sigma).mean()),
        "median_sigma_along_ray_m": float(np.median(sigma)),
    }
