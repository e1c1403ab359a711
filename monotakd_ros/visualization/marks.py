"""What a picture marks beside the boxes themselves: detections that are wrong, ground truth that was missed.

A wrong detection keeps its class's colour and is crossed out in red; missed ground truth is white and ringed. Shape and
words say it as well as colour does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Marks:
    """Verdicts on the boxes of one picture.

    Attributes:
        wrong: (N,) bool of the detections.
        missed: (M,) bool of the frame's labels.
    """

    wrong: np.ndarray
    missed: np.ndarray

    @classmethod
    def none(cls, detections: int, labels: int) -> Marks:
        """Nothing is marked."""
        return cls(np.zeros(detections, dtype=bool), np.zeros(labels, dtype=bool))
