"""The training loop of one network: steps, validation, checkpoints, resume.

A step is a pure function of the state in `last.pt` and the step's number: order, augmentation, dropout and learning
rate follow from (seed, step). So a run that was stopped and resumed ends, on the CPU, with the very same weights.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from monotakd_ros.config import Config
from monotakd_ros.config_file import to_dict
from monotakd_ros.errors import TrainingError
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.checkpoint import (
    STUDENT,
    Network,
    build_network,
    save_checkpoint,
)
from monotakd_ros.network.detection_output import DetectionOutput
from monotakd_ros.network.inherit import start_from
from monotakd_ros.network.precision import autocast, check_amp
from monotakd_ros.network.teacher import Teacher
from monotakd_ros.training.batches import BatchBuilder, StepBatches, TrainingBatch
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.guides import NO_GUIDES, Guides, guided_terms, require_guides
from monotakd_ros.training.interrupt import InterruptLatch, StopRequested
from monotakd_ros.training.losses import LossTerm, depth_terms, total
from monotakd_ros.training.optim import MovingAverage, build_optimizer, learning_rate_at, set_learning_rate
from monotakd_ros.training.run_folder import (
    BEST_FILE,
    FINAL_FILE,
    STATE_FILE,
    check_run_folder,
    check_same_run,
    load_state,
    open_run_folder,
    save_state,
)
from monotakd_ros.training.run_log import RunLog
from monotakd_ros.training.semi_supervised_losses import labelled_terms
from monotakd_ros.training.validation import validate

_log = logging.getLogger(__name__)

NO_SCORE = -1.0
_DROPOUT_STREAM = 2


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
    """

    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False
    stop_at: int | None = None
    init: Path | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """One finished step, for a progress bar.

    Attributes:
        step: number of steps done.
        steps: number of steps of the whole run.
        figures: `loss`, one `loss_NAME` per term, `learning_rate`, `gradient_norm`.
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


def train_network(
    kind: str,
    config: Config,
    train_frames: Sequence[TrainingFrame],
    val_frames: Sequence[TrainingFrame],
    out: Path,
    options: RunOptions = RunOptions(),
    on_step: Callable[[Progress], None] | None = None,
    guides: Guides = NO_GUIDES,
) -> RunResult:
    """Train one network: with the detection losses, a student with the depth loss too, and what guides teach.

    Args:
        kind: "student", "assistant" or "teacher"; the latter two need frames with clouds.
        config: network and training settings.
        train_frames: to learn from.
        val_frames: to validate on; may be empty.
        out: folder of the run.
        options: device, resume and the like.
        on_step: called after every step.
        guides: frozen teacher and assistant of a student (teacher of an assistant), as `training.distillation` asks
            for them; see `load_guides`.

    Returns:
        How the run ended. `out` then holds `last.pt` and, once finished, `final.pt`; with validation frames `best.pt`.

    Raises:
        OutputError: `out` holds something and neither resume nor overwrite is asked for; or it cannot be written.
        TrainingError: no frames, a loss that is not finite, a resumed run with other settings or guides, or a guide
            that is missing.
        ConfigError: fp16 on a CPU; a teacher of a config without one.
        CheckpointError: `options.init` or `last.pt` does not fit.
        KeyboardInterrupt: Ctrl-C, after `last.pt` was saved.
    """
    if not train_frames:
        raise TrainingError("no frame to learn from")
    check_run_folder(out, options.resume, options.overwrite)
    run = TrainingRun(kind, config, train_frames, val_frames, out, options, guides)
    # Only now, because `init` may be of the run that is replaced, and nothing may be lost to a mistake in the settings.
    open_run_folder(out, options.resume, options.overwrite)
    with InterruptLatch() as latch:
        return run.run(latch, on_step)


class TrainingRun:
    """State of a run and what moves it forward by one step."""

    def __init__(
        self,
        kind: str,
        config: Config,
        train_frames: Sequence[TrainingFrame],
        val_frames: Sequence[TrainingFrame],
        out: Path,
        options: RunOptions = RunOptions(),
        guides: Guides = NO_GUIDES,
    ) -> None:
        self.kind = kind
        self.config = config
        self.out = out
        self.options = options
        self.device = torch.device(options.device)
        settings = config.training
        check_amp(settings.amp, self.device, "training.amp")
        torch.manual_seed(settings.seed)
        self.network: Network = _channels_last(build_network(kind, config).to(self.device))
        if not isinstance(self.network, Teacher):
            self.network.view_transform.plans.max_plans = settings.lift_plans
        if options.init is not None:
            kept = start_from(self.network, kind, options.init)
            if kept:
                _log.info("%s gives no weights for %s: they start random", options.init, ", ".join(kept))
        self.guides = guides
        self._prepare_guides()
        self.build = BatchBuilder(self.network.head.anchors, config)
        self.batches = StepBatches(train_frames, self.build, config)
        self.val_frames = val_frames
        self.optimizer = build_optimizer(self.network, settings)
        self.average = MovingAverage(self.network, settings.ema_decay)
        self.scaler = _grad_scaler(settings.amp == "fp16")
        self.step = 0
        self.best_score = NO_SCORE
        self.validation: dict[str, float] = {}
        if options.resume:
            self._restore(load_state(out / STATE_FILE))

    def _prepare_guides(self) -> None:
        """Check that the guides are those that are needed; bring them to the device."""
        require_guides(self.kind, self.config, self.guides.networks)
        for network in self.guides.networks.values():
            _channels_last(network.to(self.device))
        if not isinstance(self.network, Teacher):
            self.guides.share_plans(self.network)

    def forward(self, network: Network, frames: FrameBatch) -> DetectionOutput:
        """The forward pass that `losses` takes the output of."""
        settings = self.config.training.distillation
        if self.kind != STUDENT:
            return network(frames)
        return network(frames, with_residual=settings.cmrd_weight > 0, with_assistant=bool(settings.branch_weights))

    def losses(self, output: DetectionOutput, batch: TrainingBatch) -> dict[str, LossTerm]:
        """The named terms of one batch; where there are guides, these are run here."""
        settings = self.config.training
        terms = labelled_terms(output, batch, settings)
        if self.kind == STUDENT:
            terms |= depth_terms(output, batch.depth, settings.loss)
        taught = self.guides.networks or (self.kind == STUDENT and settings.distillation.branch_weights)
        if not taught:
            return terms
        with self.precision():
            guidance = self.guides(batch.frames)
        return terms | guided_terms(output, guidance, settings.distillation)

    def precision(self) -> AbstractContextManager[object]:
        """The autocast context of a forward pass in training."""
        return autocast(self.config.training.amp, self.device)

    def run(self, latch: InterruptLatch, on_step: Callable[[Progress], None] | None = None) -> RunResult:
        """Take steps until the end, `stop_at` or Ctrl-C; see `train_network`."""
        settings = self.config.training
        last = settings.steps if self.options.stop_at is None else min(self.options.stop_at, settings.steps)
        begun_at = self.step
        log = RunLog(self.out, self.step)
        window = _Window()
        try:
            for batch in self._loader(last):
                figures = self.take_step(batch)
                window.add(figures)
                if on_step is not None:
                    on_step(Progress(self.step, settings.steps, figures, self.validation))
                if self.step % settings.log_every == 0:
                    log.write("train", self.step, window.mean())
                    window = _Window()
                if self.step % settings.checkpoint_every == 0:
                    self.save()
                latch.check()
                if self.step % settings.validate_every == 0 or self.step == settings.steps:
                    self._validate(log, latch)
            self.save()
        except StopRequested:
            self.save()
            raise
        finally:
            log.close()
        finished = self.step >= settings.steps
        if finished and not (begun_at == self.step and (self.out / FINAL_FILE).is_file()):
            self._export(FINAL_FILE)
        return RunResult(self.step, finished, self.validation, self.best_score)

    def take_step(self, batch: TrainingBatch) -> dict[str, float]:
        """One optimiser step; returns the figures of `Progress`.

        Raises:
            TrainingError: a loss or gradient is not finite; names the frames.
        """
        settings = self.config.training
        torch.manual_seed(int(np.random.SeedSequence([settings.seed, _DROPOUT_STREAM, self.step]).generate_state(1)[0]))
        learning_rate = learning_rate_at(self.step, settings)
        set_learning_rate(self.optimizer, learning_rate)
        batch = batch.to(self.device)
        self.network.train()
        with self.precision():
            output = self.forward(self.network, batch.frames)
        terms = self.losses(output, batch)
        loss = total(terms)
        figures = {"loss": loss.item()} | {f"loss_{name}": term.value.item() for name, term in terms.items()}
        self._require_finite(figures, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.grad_clip_norm).item()
        if not self.scaler.is_enabled():  # the scaler skips such steps and lowers its scale
            self._require_finite({"gradient norm": norm}, batch)
        if self.step == 0:
            self._warn_of_idle_parameters()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.network, self.step)
        self.step += 1
        return figures | {"learning_rate": learning_rate, "gradient_norm": norm}

    def _warn_of_idle_parameters(self) -> None:
        """Say which parts no loss reaches, as a residual branch that is not fused before there is distillation."""
        idle = {name.split(".")[0] for name, item in self.network.named_parameters() if item.grad is None}
        if idle:
            _log.warning("no loss reaches all of %s: those weights stay random", ", ".join(sorted(idle)))

    def save(self) -> None:
        """Write `last.pt`."""
        save_state(
            self.out / STATE_FILE,
            {
                "config": to_dict(self.config),
                "data": dict(self.options.data),
                "step": self.step,
                "best_score": self.best_score,
                "validation": dict(self.validation),
                "kind": self.kind,
                "guides": self.guides.checksums,
                "network": self.network.state_dict(),
                "average": self.average.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
            },
        )

    def _restore(self, state: Mapping[str, Any]) -> None:
        check_same_run(self.out / STATE_FILE, state, self.kind, self.config, self.options.data, self.guides.checksums)
        self.network.load_state_dict(state["network"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.best_score = state["best_score"]
        self.validation = dict(state["validation"])

    def _loader(self, last: int) -> DataLoader[TrainingBatch]:
        workers = self.config.training.num_workers
        return DataLoader(
            self.batches,
            batch_size=None,
            sampler=range(self.step, last),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )

    def _require_finite(self, figures: Mapping[str, float], batch: TrainingBatch) -> None:
        broken = [f"{name} = {value}" for name, value in figures.items() if not math.isfinite(value)]
        if broken:
            raise TrainingError(
                f"step {self.step + 1}: expected finite numbers, got {', '.join(broken)} in a batch of the frames "
                f"{', '.join(batch.frames.names)}. {STATE_FILE} holds the state of the last checkpoint before, if one "
                "was reached; a lower training.learning_rate or training.amp off may help"
            )

    def _validate(self, log: RunLog, latch: InterruptLatch) -> None:
        if not self.val_frames:
            return
        start = time.perf_counter()
        self.validation = validate(
            self.average.model,
            self.val_frames,
            self.build,
            self.losses,
            batch_size=self.config.training.batch_size,
            device=self.device,
            forward=self.forward,
            class_names=self.config.student.class_names,
            on_batch=latch.check,
        )
        log.write("validation", self.step, self.validation | {"seconds": time.perf_counter() - start})
        if self.validation["score"] > self.best_score:
            self.best_score = self.validation["score"]
            self._export(BEST_FILE)

    def _export(self, name: str) -> None:
        """Write the averaged weights as a deployable checkpoint."""
        metadata = {
            "step": self.step,
            "seed": self.config.training.seed,
            "sources": list(self.options.sources),
            "train_frames": len(self.batches.frames),
            "validation_frames": len(self.val_frames),
            "validation": dict(self.validation),
        }
        if self.guides.files:
            metadata["guides"] = {kind: asdict(name) for kind, name in self.guides.files.items()}
        if self.options.labels:
            metadata["labels"] = dict(self.options.labels)
        save_checkpoint(self.out / name, self.average.model.state_dict(), self.config, metadata, self.kind)


def _channels_last(network: Network) -> Network:
    """Weights in the order of the images, which `collate` stacks channels last: a tenth quicker on a CPU."""
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)
    return network


class _Window:
    """Mean of the figures of several steps, and the seconds they took."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._count = 0
        self._start = time.perf_counter()

    def add(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._sums[name] += value
        self._count += 1

    def mean(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._start
        return {name: value / self._count for name, value in self._sums.items()} | {
            "seconds_per_step": seconds / self._count
        }


def _grad_scaler(enabled: bool) -> Any:
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)  # torch 2.2
