"""The training loop of one network: steps, validation, checkpoints, resume.

A step is a pure function of the state in `last.pt` and the step's number: order, augmentation, dropout and learning
rate follow from (seed, step). So a run that was stopped and resumed ends, on the CPU, with the very same weights.
Several processes take the steps together (`distributed`); the first one does everything else.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from monotakd_ros.config import Config, SemiSupervisedConfig, TrainingConfig
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
from monotakd_ros.training.guide_cache import GuideCache
from monotakd_ros.training.guide_maps import (
    GuideFrameReader,
    asked_of_forward,
    needed_parts,
    require_repeated_frames,
)
from monotakd_ros.training.guides import NO_GUIDES, Guides, guided_terms, require_guides
from monotakd_ros.training.interrupt import InterruptLatch, StopRequested
from monotakd_ros.training.losses import LossTerm, depth_terms, shares, total
from monotakd_ros.training.optim import MovingAverage, build_optimizer, learning_rate_at, set_learning_rate
from monotakd_ros.training.recomputation import recompute_activations
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
from monotakd_ros.training.run_log import TRAIN, VALIDATION, NoLog, RunLog, StepFigures
from monotakd_ros.training.run_options import PLAIN_RUN, Progress, RunOptions, RunResult
from monotakd_ros.training.semi_supervised_losses import labelled_terms
from monotakd_ros.training.shared_norm import share_batch_statistics
from monotakd_ros.training.step_split import StepSplit
from monotakd_ros.training.validation import validate

_log = logging.getLogger(__name__)

NO_SCORE = -1.0
_DROPOUT_STREAM = 2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what job schedulers, containers and torchrun send when they are told to stop."""


def train_network(
    kind: str,
    config: Config,
    train_frames: Sequence[TrainingFrame],
    val_frames: Sequence[TrainingFrame],
    out: Path,
    options: RunOptions = PLAIN_RUN,
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
        on_step: called after every step, in the first process.
        guides: frozen teacher and assistant of a student (teacher of an assistant), as `training.distillation` asks
            for them; see `load_guides`.

    Returns:
        How the run ended. `out` then holds `last.pt` and, once finished, `final.pt`; with validation frames `best.pt`.

    Raises:
        OutputError: `out` holds something and neither resume nor overwrite is asked for; or it cannot be
            written, or the guides' cache cannot.
        TrainingError: no frames, a loss that is not finite, a resumed run with other settings or guides, a guide that
            is missing, or a guides' cache of others.
        ConfigError: fp16 on a CPU; a teacher of a config without one; a guides' cache for frames that never come back.
        CheckpointError: `options.init` or `last.pt` does not fit.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after `last.pt` was saved.
    """
    if not train_frames:
        raise TrainingError("no frame to learn from")
    processes = options.processes
    if processes.first:
        check_run_folder(out, options.resume, options.overwrite)
    run = TrainingRun(kind, config, train_frames, val_frames, out, options, guides)
    # Only now, because `init` may be of the run that is replaced, and nothing may be lost to a mistake in the settings.
    processes.wait()
    if processes.first:
        open_run_folder(out, options.resume, options.overwrite)
    with InterruptLatch(_STOP_SIGNALS) as latch:
        return run.run(latch, on_step if processes.first else None)


class TrainingRun:
    """State of a run and what moves it forward by one step."""

    def __init__(
        self,
        kind: str,
        config: Config,
        train_frames: Sequence[TrainingFrame],
        val_frames: Sequence[TrainingFrame],
        out: Path,
        options: RunOptions = PLAIN_RUN,
        guides: Guides = NO_GUIDES,
    ) -> None:
        self.kind = kind
        self.config = config
        self.out = out
        self.options = options
        self.processes = options.processes
        self.device = torch.device(options.device)
        settings = config.training
        check_amp(settings.amp, self.device, "training.amp")
        torch.manual_seed(settings.seed)
        self.network: Network = _channels_last(build_network(kind, config).to(self.device))
        if not isinstance(self.network, Teacher):
            self.network.view_transform.plans.max_plans = settings.plans_to_keep
        if options.init is not None:
            kept = start_from(self.network, kind, options.init)
            if kept:
                _log.info("%s gives no weights for %s: they start anew", options.init, ", ".join(kept))
        self.guides = guides
        self._prepare_guides()
        reader = GuideFrameReader(self.guide_parts, self.guide_cache) if self._taught else None
        self.build = BatchBuilder(self.network.head.anchors, config, reader)
        split = StepSplit.of(settings, self.processes.count, self.processes.rank)
        self.batches = StepBatches(train_frames, self.build, config, split)
        self.val_frames = val_frames
        self.processes.share(self.network)
        self.average = MovingAverage(self.network, settings.ema_decay)
        self._equip()
        self.optimizer = build_optimizer(self.network, settings)
        self.scaler = _grad_scaler(settings.amp == "fp16")
        self.step = 0
        self.best_score = NO_SCORE
        self.validation: dict[str, float] = {}
        self.validated_at = 0
        self.window = StepFigures()
        self._saved_at: tuple[int, int] | None = None
        self._saved_s = time.monotonic()
        if options.resume:
            self._restore(self.processes.from_first(lambda: load_state(out / STATE_FILE)))

    def _equip(self) -> None:
        """Give the network, but not its average, what training alone needs; keys and weights stay as they are."""
        if not self.processes.alone:
            share_batch_statistics(self.network)
        if self.config.training.activation_checkpointing:
            recompute_activations(self.network)

    def _prepare_guides(self) -> None:
        """Check that the guides are those that are needed; bring them to the device; open their cache."""
        require_guides(self.kind, self.config, self.guides.networks)
        for network in self.guides.networks.values():
            _channels_last(network.to(self.device))
        if not isinstance(self.network, Teacher):
            self.guides.share_plans(self.network)
        self.guide_parts = needed_parts(self.kind, self.config.training.distillation)
        self.guide_cache: GuideCache | None = None
        if self.options.guide_cache is not None and self.guide_parts:
            require_repeated_frames(self.config.training.augment)
            amp = self.config.training.amp
            self.guide_cache = self.guides.open_cache(self.options.guide_cache, amp, self.device)

    @property
    def _taught(self) -> bool:
        """Whether there are guides, or a branch of the student's own in their place."""
        branch = self.kind == STUDENT and self.config.training.distillation.branch_weights
        return bool(self.guides.networks or branch)

    def forward(self, network: Network, frames: FrameBatch) -> DetectionOutput:
        """The forward pass that `losses` takes the output of."""
        return network(frames, **asked_of_forward(self.kind, self.config.training.distillation))

    def losses(self, output: DetectionOutput, batch: TrainingBatch) -> dict[str, LossTerm]:
        """The named terms of one batch; where there are guides, these are run here."""
        settings = self.config.training
        terms = labelled_terms(output, batch, settings if self.kind == STUDENT else _of_guides(settings))
        if self.kind == STUDENT:
            terms |= depth_terms(output, batch.depth, settings.loss)
        if not self._taught:
            return terms
        with self.precision():
            guidance = self.guides(batch.guided, self.guide_parts, self.guide_cache)
        return terms | guided_terms(output, guidance, settings.distillation)

    def precision(self) -> AbstractContextManager[object]:
        """The autocast context of a forward pass in training."""
        return autocast(self.config.training.amp, self.device)

    def run(self, latch: InterruptLatch, on_step: Callable[[Progress], None] | None = None) -> RunResult:
        """Take steps until the end, `stop_at` or Ctrl-C; see `train_network`."""
        settings = self.config.training
        last = settings.steps if self.options.stop_at is None else min(self.options.stop_at, settings.steps)
        begun_at = self.step
        log = RunLog(self.out, self.step, self._validation_due) if self.processes.first else NoLog()
        try:
            if self.step == 0:
                self.save()  # so that a run that is killed before its first checkpoint can be resumed like any other
            if self._validation_due:  # a resumed run that was stopped before or in it
                self._validate(log, latch)
            self.window.start_clock()
            for batches in self.window.timing_the_wait(self._batches_of_steps(last)):
                figures = self.take_step(*batches)
                self.window.add(figures)
                if on_step is not None:
                    on_step(Progress(self.step, settings.steps, figures, self.validation))
                if self.step % settings.log_every == 0 or self.step == settings.steps:
                    log.write(TRAIN, self.step, self.window.mean())
                    self.window.clear()
                with self.window.paused():
                    self._between_steps(log, latch)
            self.save()
        except StopRequested:
            self.save()
            self.processes.wait()  # one that ends before the first has saved makes torchrun stop that one again
            raise
        finally:
            log.close()
        finished = self.step >= settings.steps
        already = begun_at == self.step and (self.out / FINAL_FILE).is_file()
        if finished and self.processes.first and not already:
            self._export(FINAL_FILE)
        self.processes.wait()  # the files are there when any of them goes on
        self._check(latch)
        return RunResult(self.step, finished, self.validation, self.best_score)

    def _between_steps(self, log: RunLog | NoLog, latch: InterruptLatch) -> None:
        """Save, stop, validate where it is time to. Saved before a validation: a kill in its midst costs only that."""
        settings = self.config.training
        late = time.monotonic() - self._saved_s >= 60 * settings.checkpoint_minutes
        if late or self._validation_due or self.step % settings.checkpoint_every == 0:
            self.save()
        self._check(latch)
        if self._validation_due:
            self._validate(log, latch)

    def take_step(self, *batches: TrainingBatch) -> dict[str, float]:
        """One optimiser step over this process's batches of it; returns the figures of `Progress`, of all processes.

        Raises:
            TrainingError: a loss or gradient is not finite; names the frames.
        """
        settings = self.config.training
        torch.manual_seed(self._dropout_seed())
        learning_rate = learning_rate_at(self.step, settings)
        set_learning_rate(self.optimizer, learning_rate)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        figures = self._backward(batches)
        self._require_finite(figures, batches)
        self.processes.sum_gradients(self.network.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.grad_clip_norm).item()
        if not self.scaler.is_enabled():  # the scaler skips such steps and lowers its scale
            self._require_finite({"gradient norm": norm}, batches)
        if self.step == 0 and self.processes.first:
            self._warn_of_idle_parameters()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._require_scale()
        self.average.update(self.network, self.step)
        self.step += 1
        if self.scaler.is_enabled():
            figures |= {"left_out": float(not math.isfinite(norm))}
        return figures | {"learning_rate": learning_rate, "gradient_norm": norm}

    def _backward(self, batches: Sequence[TrainingBatch]) -> dict[str, float]:
        """Add this process's gradients of a step; returns the losses of all processes."""
        totals = self.processes.total_counts([batch.counts for batch in batches])
        sums: dict[str, torch.Tensor] = {}
        for batch in batches:
            counts, batch = batch.counts, batch.to(self.device)
            with self.precision():
                output = self.forward(self.network, batch.frames)
            terms = shares(self.losses(output, batch), counts, totals)
            loss = total(terms)
            self.scaler.scale(loss).backward()
            values = {"loss": loss} | {f"loss_{name}": term.value for name, term in terms.items()}
            sums |= {name: value.detach() + sums.get(name, 0.0) for name, value in values.items()}
        return self.processes.sum_figures(sums)

    def _dropout_seed(self) -> int:
        stream = [self.config.training.seed, _DROPOUT_STREAM, self.step]
        stream += [] if self.processes.first else [self.processes.rank]
        return int(np.random.SeedSequence(stream).generate_state(1)[0])

    def _warn_of_idle_parameters(self) -> None:
        """Say which parts no loss reaches, as a residual branch that is not fused before there is distillation."""
        idle = {name.split(".")[0] for name, item in self.network.named_parameters() if item.grad is None}
        if idle:
            _log.warning("no loss reaches all of %s: those weights stay random", ", ".join(sorted(idle)))

    def save(self) -> None:
        """Write `last.pt`, in the first process."""
        if not self.processes.first or self._saved_at == (self.step, self.validated_at):
            return
        save_state(
            self.out / STATE_FILE,
            {
                "config": to_dict(self.config),
                "data": dict(self.options.data),
                "step": self.step,
                "best_score": self.best_score,
                "validation": dict(self.validation),
                "validated_at": self.validated_at,
                "window": self.window.state(),
                "kind": self.kind,
                "processes": self.processes.count,
                "guides": self.guides.checksums,
                "network": self.network.state_dict(),
                "average": self.average.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
            },
        )
        self._saved_at = (self.step, self.validated_at)
        self._saved_s = time.monotonic()

    def _restore(self, state: Mapping[str, Any]) -> None:
        check_same_run(
            self.out / STATE_FILE,
            state,
            self.kind,
            self.config,
            self.options.data,
            self.guides.checksums,
            self.processes.count,
        )
        self.network.load_state_dict(state["network"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty of a run in another precision than fp16
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.best_score = state["best_score"]
        self.validation = dict(state["validation"])
        self.validated_at = state.get("validated_at", self.step)  # earlier versions did not say
        if "window" in state:
            self.window.restore(state["window"])

    def _batches_of_steps(self, last: int) -> Iterator[tuple[TrainingBatch, ...]]:
        """Per step up to `last` this process's batches."""
        return zip(*[iter(self._loader(last))] * self.batches.split.accumulate)

    def _loader(self, last: int) -> DataLoader[TrainingBatch]:
        workers, per_step = self.config.training.num_workers, self.batches.split.accumulate
        return DataLoader(
            self.batches,
            batch_size=None,
            sampler=range(self.step * per_step, last * per_step),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_stopping_to_the_parent,
        )

    def _require_finite(self, figures: Mapping[str, float], batches: Sequence[TrainingBatch]) -> None:
        """Figures are the same in all processes, so that all of them come to the same end."""
        broken = [f"{name} = {value}" for name, value in figures.items() if not math.isfinite(value)]
        if broken:
            own = [name for batch in batches for name in batch.frames.names]
            names = [name for part in self.processes.gather(own) for name in part]
            raise TrainingError(
                f"step {self.step + 1}: expected finite numbers, got {', '.join(broken)} in a batch of the frames "
                f"{', '.join(names)}. {STATE_FILE} holds the state of the last checkpoint before; "
                "a lower training.learning_rate or training.amp off may help"
            )

    def _require_scale(self) -> None:
        """The scaler leaves out steps whose gradients fp16 cannot hold, and halves its scale: it has to end somewhere.

        Raises:
            TrainingError: it halved it below 1.
        """
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1.0:
            raise TrainingError(
                f"step {self.step + 1}: expected gradients that fp16 can hold, got none in the last steps, which were "
                "all left out; training.amp bf16 or off may help"
            )

    def _check(self, latch: InterruptLatch) -> None:
        """Stop all processes after the same step where one was asked to."""
        if self.processes.any(latch.requested):
            raise StopRequested

    @property
    def _validation_due(self) -> bool:
        """Whether the state of this step is one to score, and was not yet; the same answer in all processes."""
        settings = self.config.training
        wanted = self.step > 0 and (self.step % settings.validate_every == 0 or self.step == settings.steps)
        return wanted and self.validated_at != self.step and len(self.val_frames) > 0

    def _validate(self, log: RunLog | NoLog, latch: InterruptLatch) -> None:
        """Score the average in the first process, while the others wait, and save that it was scored."""
        if self.processes.first:
            with suppress(StopRequested):  # goes on in all processes below
                self._score(log, latch)
        self._check(latch)
        self.validated_at = self.step
        self.save()

    def _score(self, log: RunLog | NoLog, latch: InterruptLatch) -> None:
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
        log.write(VALIDATION, self.step, self.validation | {"seconds": time.perf_counter() - start})
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


def _leave_stopping_to_the_parent(worker: int) -> None:
    """In a loader's process: who signals a whole group of processes means the one that saves."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _of_guides(settings: TrainingConfig) -> TrainingConfig:
    """Training settings without those of unlabelled recordings, which are for students."""
    return replace(settings, semi_supervised=SemiSupervisedConfig())


def _channels_last(network: Network) -> Network:
    """Weights in the order of the images, which `collate` stacks channels last: a tenth quicker on a CPU."""
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)
    return network


def _grad_scaler(enabled: bool) -> Any:
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)  # torch 2.2
