"""From cached frames to training batches: order, augmentation and targets.

Which frames a step sees and how they are augmented is a pure function of (seed, step), so that a resumed run
continues exactly where it stopped.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import Dataset

from monotakd_ros.config import Config
from monotakd_ros.data.augment import augment_and_keep_colours
from monotakd_ros.data.preprocess import PreparedFrame, collate
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.measured_depth import cell_layout
from monotakd_ros.training.depth_targets import DepthTargets, depth_targets
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.guide_maps import GuideFrame, GuideFrameReader
from monotakd_ros.training.step_split import StepSplit
from monotakd_ros.training.targets import AnchorAssigner, AnchorTargets

_AUGMENT_STREAM = 1


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What one step needs.

    Attributes:
        frames: images, clouds and labels, as the network sees them.
        anchors: detection targets.
        depth: depth targets.
        pseudo: (B,) bool on the CPU, frames whose labels a teacher made; None where it made none.
        guided: the same frames as guides see them, None for one without a cloud; empty where there are no guides.
    """

    frames: FrameBatch
    anchors: AnchorTargets
    depth: DepthTargets
    pseudo: torch.Tensor | None = None
    guided: tuple[GuideFrame | None, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many of each `losses.Unit` and `losses.Labeller` the batch has; of a batch on the CPU."""
        frames, positives = len(self.frames.names), len(self.anchors.label)
        pseudo = 0 if self.pseudo is None else int(self.pseudo.sum())
        pseudo_positives = 0 if self.pseudo is None else int(self.pseudo[self.anchors.sample].sum())
        return {
            "frame": frames,
            "labelled": frames - pseudo,
            "pseudo": pseudo,
            "positive": positives - pseudo_positives,
            "pseudo_positive": pseudo_positives,
            "cell": len(self.depth.bin),
            "cloud": sum(bool(len(cloud)) for cloud in self.frames.points_lidar),
        }

    def to(self, device: torch.device | str) -> TrainingBatch:
        """The same batch with every tensor of its parts on `device`."""
        guided = tuple(None if frame is None else frame.to(device) for frame in self.guided)
        return replace(
            self,
            frames=self.frames.to(device),
            anchors=self.anchors.to(device),
            depth=self.depth.to(device),
            guided=guided,
        )


class BatchBuilder:
    """Turns prepared frames into a batch with targets.

    Args:
        anchors: (A, 7) of the head.
        config: grid, classes and depth bins.
        for_guides: makes what guides need of a frame; None where there are no guides.
    """

    def __init__(self, anchors: torch.Tensor, config: Config, for_guides: GuideFrameReader | None = None) -> None:
        self._assigner = AnchorAssigner(anchors, config.student)
        self._bins = config.student.depth.build()
        self._sampling = config.student.lift.sampling
        self._weigh_by_score = config.training.semi_supervised.weigh_by_score
        self._for_guides = for_guides

    def __call__(
        self, frames: Sequence[PreparedFrame], true_colours: Sequence[PreparedFrame] | None = None
    ) -> TrainingBatch:
        """A batch of `frames`; `true_colours` are the same in the colours that were recorded, if those are others."""
        batch = collate(frames)
        assert batch.boxes_lidar is not None and batch.labels is not None, "training frames carry labels"
        cells = cell_layout(batch.images.shape[-2:], self._sampling)
        return TrainingBatch(
            batch,
            self._assigner.targets(batch.boxes_lidar, batch.labels, self._weights(frames)),
            depth_targets(batch, self._bins, cells),
            _pseudo(frames),
            tuple(map(self._for_guides, true_colours or frames)) if self._for_guides is not None else (),
        )

    def _weights(self, frames: Sequence[PreparedFrame]) -> list[torch.Tensor] | None:
        """How much each label counts; None where all count 1."""
        if not self._weigh_by_score or _pseudo(frames) is None:
            return None
        return [torch.from_numpy(_scores(frame)) for frame in frames]


def _pseudo(frames: Sequence[PreparedFrame]) -> torch.Tensor | None:
    made = [frame.label_scores is not None for frame in frames]
    return torch.tensor(made) if any(made) else None


def _scores(frame: PreparedFrame) -> np.ndarray:
    """(N,) float32: human labels are certain."""
    assert frame.labels is not None, "training frames carry labels"
    return np.ones(len(frame.labels), dtype=np.float32) if frame.label_scores is None else frame.label_scores


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def frame_of_sample(sample: int, count: int, seed: int) -> int:
    """Index of the frame that the run's `sample`-th sample is, out of `count`; every epoch is a new shuffle."""
    return int(_epoch_order(seed, sample // count, count)[sample % count])


@runtime_checkable
class OwnOrder(Protocol):
    """Frames that decide themselves which of them a run's samples are."""

    def index_of_sample(self, sample: int, seed: int) -> int:
        """Index of the frame that the run's `sample`-th sample is."""
        ...


def index_of_sample(frames: Sequence[TrainingFrame], sample: int, seed: int) -> int:
    """Index in `frames` of the run's `sample`-th sample."""
    if isinstance(frames, OwnOrder):
        return frames.index_of_sample(sample, seed)
    return frame_of_sample(sample, len(frames), seed)


class StepBatches(Dataset[TrainingBatch]):
    """Item i is this process's batch number i: the batches of step s begin at s x `accumulate`."""

    def __init__(
        self,
        frames: Sequence[TrainingFrame],
        build: BatchBuilder,
        config: Config,
        split: StepSplit | None = None,
    ) -> None:
        self.frames = frames
        self.split = split or StepSplit.of(config.training)
        self._build = build
        self._config = config.training

    def __len__(self) -> int:
        return self._config.steps * self.split.accumulate

    def __getitem__(self, batch: int) -> TrainingBatch:
        return self._build(*self.prepared(batch))

    def prepared(self, batch: int) -> tuple[list[PreparedFrame], list[PreparedFrame]]:
        """The augmented frames of a batch, and the same in the colours that were recorded."""
        pairs = [self._sample(sample) for sample in self.split.samples(batch)]
        return [frame for frame, _ in pairs], [true_colours for _, true_colours in pairs]

    def _sample(self, sample: int) -> tuple[PreparedFrame, PreparedFrame]:
        frame = self.frames[index_of_sample(self.frames, sample, self._config.seed)]
        generator = np.random.default_rng([self._config.seed, _AUGMENT_STREAM, sample])
        return augment_and_keep_colours(frame.prepared, self._config.augment, generator)
