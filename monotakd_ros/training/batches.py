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
from monotakd_ros.network.image_encoder import FEATURE_STRIDE
from monotakd_ros.training.depth_targets import CellLayout, DepthTargets, depth_targets
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.targets import AnchorAssigner, AnchorTargets, BoxEncoder

OFFICIAL_FIRST_PX = 3.5
"""Centre of the first depth cell as `official` sampling reads it (stride 8); `exact` reads cell i at pixel 8 i."""

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
        encode: the head's residual coder.
        config: grid, classes and depth bins.
    """

    def __init__(self, anchors: torch.Tensor, encode: BoxEncoder, config: Config) -> None:
        self._assigner = AnchorAssigner(anchors, config.student)
        self._encode = encode
        self._bins = config.student.depth.build()
        self._first_px = 0.0 if config.student.lift.sampling == "exact" else OFFICIAL_FIRST_PX

    def __call__(self, frames: Sequence[PreparedFrame]) -> TrainingBatch:
        batch = collate(frames)
        assert batch.boxes_lidar is not None and batch.labels is not None, "training frames carry labels"
        height, width = batch.images.shape[-2:]
        map_size = (-(-height // FEATURE_STRIDE), -(-width // FEATURE_STRIDE))
        cells = CellLayout(*map_size, FEATURE_STRIDE, self._first_px)
        return TrainingBatch(
            batch,
            self._assigner.targets(batch.boxes_lidar, batch.labels, self._encode),
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
