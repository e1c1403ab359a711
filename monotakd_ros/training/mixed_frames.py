"""Labelled and unlabelled frames in one order: which sample of a run is of which kind.

Sample s is unlabelled where the whole part of s * fraction steps up, so that every stretch of samples, and every batch,
holds the share that was asked for, to within one frame. Each kind is shuffled on its own, epoch by epoch: a kind with
fewer frames comes round more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch.utils.data import ConcatDataset

from monotakd_ros.training.batches import frame_of_sample
from monotakd_ros.training.frame_cache import TrainingFrame

_UNLABELLED_ORDER = 1 << 32
"""Added to the run's seed (below 2^32) for the order of unlabelled frames."""
_MAX_DENOMINATOR = 10**6


class MixedFrames(ConcatDataset[TrainingFrame]):
    """Labelled frames, then unlabelled ones that carry a teacher's labels.

    Attributes:
        num_labelled: number of labelled frames.
        num_unlabelled: number of the others.
    """

    def __init__(self, labelled: Sequence[TrainingFrame], unlabelled: Sequence[TrainingFrame], fraction: float) -> None:
        """Mix them.

        Args:
            labelled: at least one, or none with a fraction of 1.
            unlabelled: at least one.
            fraction: share of unlabelled samples, in (0, 1].
        """
        super().__init__([labelled, unlabelled])
        assert unlabelled and 0 < fraction <= 1, "something is unlabelled"
        assert bool(labelled) == (fraction < 1), "labelled frames are there where samples are drawn from them"
        self.num_labelled = len(labelled)
        self.num_unlabelled = len(unlabelled)
        self._fraction = Fraction(fraction).limit_denominator(_MAX_DENOMINATOR)

    def index_of_sample(self, sample: int, seed: int) -> int:
        """Index of the frame that the run's `sample`-th sample is; a pure function of its arguments."""
        unlabelled_before = self._unlabelled_among(sample)
        if self._unlabelled_among(sample + 1) == unlabelled_before:
            return frame_of_sample(sample - unlabelled_before, self.num_labelled, seed)
        return self.num_labelled + frame_of_sample(unlabelled_before, self.num_unlabelled, seed + _UNLABELLED_ORDER)

    def _unlabelled_among(self, samples: int) -> int:
        return int(samples * self._fraction)

    def kinds(self) -> dict[str, Any]:
        """How many frames of each kind there are."""
        return {"human": self.num_labelled, "pseudo": self.num_unlabelled}
