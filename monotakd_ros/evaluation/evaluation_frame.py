"""What every metric of this room takes: ground truth and results of one frame, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.frame import KittiFrame


@dataclass(frozen=True, eq=False)
class EvaluationFrame:
    """One frame of an evaluation.

    Attributes:
        name: unique among the frames of one evaluation.
        truth: ground truth, cam.
        results: what was detected, cam; in the order in which the detector gave it.
        covariance_cam: (N, 3, 3) float64 m^2 of the results' centres, cam; all zero where unknown. None when the
            results come without any.
        stamp_ns: time of the frame, ns; None when unknown.
    """

    name: str
    truth: KittiFrame
    results: KittiFrame
    covariance_cam: np.ndarray | None = None
    stamp_ns: int | None = None

    def __post_init__(self) -> None:
        if self.covariance_cam is not None:
            expected, got = (len(self.results), 3, 3), self.covariance_cam.shape
            assert got == expected, f"EvaluationFrame.covariance_cam: expected shape {expected}, got {got}"
