"""How far off the results of a detector are, in metres and degrees, against distance.

In words: results are paired with ground truth along the viewing ray (`association`) and those below the operating
score are dropped. The error of a pair is the result's geometric centre minus the true one, in cam. *Along the ray* is
its part on the unit vector from the camera's origin to the true centre (+ too far); *depth* its z (+ too far);
*across* its part over ground at a right angle to the ray; *height* its part upwards (+ too high). *Yaw* is the
difference of rotation_y as an angle of 0..180 degrees, or of 0..90 for the axis alone, when front and back count as
the same; it is flipped beyond 90. Sizes are result minus truth. A bias is a median of signed errors. Distance is that
of the true centre over ground (cam x, z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from monotakd_ros.evaluation.association import Links, associate, operating_point
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_groups import DISTANCE_BANDS_M
from monotakd_ros.evaluation.viewing_ray import ground_ray, split_at_ray, viewing_ray
from monotakd_ros.frame import KittiFrame

MAX_POINTS = 1500


@dataclass(frozen=True, eq=False)
class PairErrors:
    """Errors of P pairs, each (P,) float64; signs as the top of this module says.

    Attributes:
        distance: m, of the true centre over ground.
        along_ray: m.
        depth: m.
        across_ray: m, + to the right.
        height: m.
        yaw: deg, 0..180.
        size: (P, 3) height, width, length, m.
    """

    distance: np.ndarray
    along_ray: np.ndarray
    depth: np.ndarray
    across_ray: np.ndarray
    height: np.ndarray
    yaw: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.distance)

    def select(self, mask: np.ndarray) -> PairErrors:
        """The pairs where `mask` (P,) bool is true."""
        return PairErrors(**{name: values[mask] for name, values in vars(self).items()})


def errors_section(
    frames: Sequence[EvaluationFrame], class_names: Sequence[str], score: float | None = None
) -> dict[str, Any]:
    """The report's "errors".

    Args:
        frames: both sides.
        class_names: classes to measure.
        score: results below it are dropped; each class's score of best F1 when not given.

    Returns:
        class -> {"operating_point", "all", "by_distance", "points"}: the counts at the score limit, statistics of all
        pairs and by distance band (the last has "to_m" None), and [distance m, error along the ray m] of at most
        `MAX_POINTS` pairs, evenly spread over the frames. What has no value is None.
    """
    return {name: _class_errors(frames, name, score) for name in class_names}


def pair_errors(frames: Sequence[EvaluationFrame], pairs: Links) -> PairErrors:
    """Errors of pairs, in their order."""
    truth, true_center = _rows([frames[f].truth for f in pairs.frame], pairs.truth)
    found, found_center = _rows([frames[f].results for f in pairs.frame], pairs.result)
    error = found_center - true_center
    _, across = split_at_ray(error, ground_ray(true_center))
    turn = np.abs(found[:, 3] - truth[:, 3]) % (2 * np.pi)
    return PairErrors(
        distance=np.hypot(true_center[:, 0], true_center[:, 2]),
        along_ray=(error * viewing_ray(true_center)).sum(axis=1),
        depth=error[:, 2],
        across_ray=across,
        height=-error[:, 1],
        yaw=np.rad2deg(np.minimum(turn, 2 * np.pi - turn)),
        size=found[:, :3] - truth[:, :3],
    )


def centers(frames: Sequence[KittiFrame], rows: np.ndarray) -> np.ndarray:
    """(P, 3) geometric centre, m, cam, of box rows[i] of frames[i]."""
    return _rows(frames, rows)[1]


def _rows(frames: Sequence[KittiFrame], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, 4) height, width, length, rotation_y and (P, 3) geometric centre of box rows[i] of frames[i]."""
    hwl = np.array([frame.hwl[row] for frame, row in zip(frames, rows)]).reshape(-1, 3)
    center = np.array([frame.location_cam[row] for frame, row in zip(frames, rows)]).reshape(-1, 3)
    yaw = np.array([frame.rotation_y[row] for frame, row in zip(frames, rows)]).reshape(-1, 1)
    center[:, 1] -= 0.5 * hwl[:, 0]  # y points down; KITTI's location is the bottom
    return np.hstack([hwl, yaw]), center


def _class_errors(frames: Sequence[EvaluationFrame], class_name: str, score: float | None) -> dict[str, Any]:
    association = associate(frames, class_name)
    point = operating_point(association, score)
    errors = pair_errors(frames, association.pairs.at_least(point.score))
    return {
        "operating_point": asdict(point),
        "all": statistics(errors),
        "by_distance": [_band(errors, *edges) for edges in DISTANCE_BANDS_M],
        "points": _points(errors),
    }


def _band(errors: PairErrors, from_m: float, to_m: float) -> dict[str, Any]:
    inside = errors.select((errors.distance >= from_m) & (errors.distance < to_m))
    return {"from_m": from_m, "to_m": to_m if np.isfinite(to_m) else None, **statistics(inside)}


def statistics(errors: PairErrors) -> dict[str, Any]:
    """Medians and shares of the errors, by the report's names; None where there is no pair."""
    along = np.abs(errors.along_ray)
    far_enough = errors.distance > 0
    return {
        "count": len(errors),
        "along_ray_bias_m": _median(errors.along_ray),
        "along_ray_mean_m": float(errors.along_ray.mean()) if len(errors) else None,
        "along_ray_median_abs_m": _median(along),
        "along_ray_p90_abs_m": float(np.percentile(along, 90)) if len(errors) else None,
        "along_ray_relative_median": _median(along[far_enough] / errors.distance[far_enough]),
        "depth_bias_m": _median(errors.depth),
        "depth_median_abs_m": _median(np.abs(errors.depth)),
        "across_ray_median_abs_m": _median(np.abs(errors.across_ray)),
        "height_bias_m": _median(errors.height),
        "yaw_median_abs_deg": _median(errors.yaw),
        "yaw_flipped_share": float((errors.yaw > 90).mean()) if len(errors) else None,
        "yaw_axis_median_abs_deg": _median(np.minimum(errors.yaw, 180 - errors.yaw)),
        "length_bias_m": _median(errors.size[:, 2]),
        "width_bias_m": _median(errors.size[:, 1]),
        "box_height_bias_m": _median(errors.size[:, 0]),
    }


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _points(errors: PairErrors) -> list[list[float]]:
    chosen = np.unique(np.linspace(0, len(errors) - 1, min(len(errors), MAX_POINTS)).round().astype(np.int64))
    return np.column_stack([errors.distance, errors.along_ray])[chosen].tolist()
