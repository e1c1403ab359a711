"""From cached frames to training batches: order, augmentation and targets.

Which frames a step sees and how they are augmented is a pure function of (seed, step), so that a resumed run
continues exactly where it stopped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from monotakd_ros.config import Config
from monotakd_ros.data.augment import augment
from monotakd_ros.data.preprocess import PreparedFrame, collate
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.measured_depth import cell_layout
from monotakd_ros.training.depth_targets import DepthTargets, depth_targets
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.targets import AnchorAssigner, AnchorTargets

_AUGMENT_STREAM = 1


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What one step needs."""

    frames: FrameBatch
    anchors: AnchorTargets
    depth: DepthTargets

    def to(self, device: torch.device | str) -> TrainingBatch:
        """The same batch with every tensor on `device`."""
        return TrainingBatch(self.frames.to(device), self.anchors.to(device), self.depth.to(device))


class BatchBuilder:
    """Turns prepared frames into a batch with targets.

    Args:
        anchors: (A, 7) of the head.
        config: grid, classes and depth bins.
    """

    def __init__(self, anchors: torch.Tensor, config: Config) -> None:
        self._assigner = AnchorAssigner(anchors, config.student)
        self._bins = config.student.depth.build()
        self._sampling = config.student.lift.sampling

    def __call__(self, frames: Sequence[PreparedFrame]) -> TrainingBatch:
        batch = collate(frames)
        assert batch.boxes_lidar is not None and batch.labels is not None, "training frames carry labels"
        cells = cell_layout(batch.images.shape[-2:], self._sampling)
        return TrainingBatch(
            batch,
            self._assigner.targets(batch.boxes_lidar, batch.labels),
            depth_targets(batch, self._bins, cells),
        )


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def frame_of_sample(sample: int, count: int, seed: int) -> int:
    """Index of the frame that the run's `sample`-th sample is, out of `count`; every epoch is a new shuffle."""
    return int(_epoch_order(seed, sample // count, count)[sample % count])


class StepBatches(Dataset[TrainingBatch]):
    """Item i is the batch of step i."""

    def __init__(
        self,
        frames: Sequence[TrainingFrame],
        build: Callable[[Sequence[PreparedFrame]], TrainingBatch],
        config: Config,
    ) -> None:
        self.frames = frames
        self._build = build
        self._config = config.training

    def __len__(self) -> int:
        return self._config.steps

    def __getitem__(self, step: int) -> TrainingBatch:
        return self._build(self.prepared(step))

    def prepared(self, step: int) -> list[PreparedFrame]:
        """The augmented frames of a step."""
        first = step * self._config.batch_size
        return [self._sample(first + offset) for offset in range(self._config.batch_size)]

    def _sample(self, sample: int) -> PreparedFrame:
        frame = self.frames[frame_of_sample(sample, len(self.frames), self._config.seed)]
        generator = np.random.default_rng([self._config.seed, _AUGMENT_STREAM, sample])
        return augment(frame.prepared, self._config.augment, generator)
