"""How a run is started, and what it tells while it goes and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monotakd_ros.training.distributed import ALONE, Processes


@dataclass(frozen=True)
class RunOptions:
    """How to run, as opposed to what to train.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        resume: go on from `last.pt`.
        overwrite: replace a run that is there.
        stop_at: stop after this step as if interrupted, to be resumed; None runs to the end.
        init: checkpoint to start from, of the same network or one that shares parts with it (see `network.inherit`);
            None starts from random weights.
        data: what identifies the frames (plain values), checked on resume.
        sources: names of the sources, for the checkpoints' metadata.
        labels: who labelled the frames, for the checkpoints' metadata; empty where no teacher did.
        processes: that run this together, see `joined_processes`; `device` is this one's.
        guide_cache: folder of the guides' outputs, read where they are there and kept where they are not; None
            computes them every time. The numbers are the same.
    """

    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False
    stop_at: int | None = None
    init: Path | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    processes: Processes = ALONE
    guide_cache: Path | None = None


@dataclass(frozen=True)
class Progress:
    """One finished step, for a progress bar.

    Attributes:
        step: number of steps done.
        steps: number of steps of the whole run.
        figures: `loss`, one `loss_NAME` per term, `learning_rate`, `gradient_norm`; with fp16
            `left_out`, 1 where the gradients could not be held and the step was left out.
        validation: figures of the latest validation; empty before the first.
    """

    step: int
    steps: int
    figures: Mapping[str, float]
    validation: Mapping[str, float]


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        step: number of steps done.
        finished: whether that is all of them.
        validation: figures of the latest validation; empty without validation frames.
        best_score: highest validation score, or -1.
    """

    step: int
    finished: bool
    validation: Mapping[str, float]
    best_score: float


PLAIN_RUN = RunOptions()
"""On one CPU, from random weights, into an empty folder."""
