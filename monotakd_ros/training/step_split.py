"""Which of a step's frames are whose.

A step has batch_size x accumulate x processes frames, consecutive samples of the run. Each process has a consecutive
share of them, and takes it in `accumulate` consecutive batches. So what a step sees does not follow from the split.
"""

from __future__ import annotations

from dataclasses import dataclass

from monotakd_ros.config import TrainingConfig


@dataclass(frozen=True)
class StepSplit:
    """How the frames of a step are split, and which share this process has.

    Attributes:
        batch_size: frames of one forward pass.
        accumulate: forward passes of a process before the weights move.
        processes: number of processes.
        rank: number of this process, from 0.
    """

    batch_size: int
    accumulate: int = 1
    processes: int = 1
    rank: int = 0

    @classmethod
    def of(cls, config: TrainingConfig, processes: int = 1, rank: int = 0) -> StepSplit:
        """The split that these settings ask for."""
        return cls(config.batch_size, config.accumulate, processes, rank)

    @property
    def frames(self) -> int:
        """Frames of a step, over all processes."""
        return self.batch_size * self.accumulate * self.processes

    def samples(self, batch: int) -> range:
        """Samples of the run in this process's batch of that number; step s has its batches from s x accumulate on."""
        step, part = divmod(batch, self.accumulate)
        first = step * self.frames + (self.rank * self.accumulate + part) * self.batch_size
        return range(first, first + self.batch_size)
