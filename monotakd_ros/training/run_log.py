"""Figures of a run over its steps, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from monotakd_ros.atomic import atomic_path
from monotakd_ros.errors import OutputError
from monotakd_ros.training.run_folder import LOG_FILE, TENSORBOARD_DIR

_log = logging.getLogger(__name__)

TRAIN, VALIDATION = "train", "validation"
"""Kinds of lines."""

Item = TypeVar("Item")


class RunLog:
    """Figures of a run as JSON lines and, where tensorboard is installed, for TensorBoard.

    Args:
        out: folder of the run.
        step: step that the run continues from; later entries of an interrupted run are dropped.
        validation_owed: of that step, too, the validation, which comes again.
    """

    def __init__(self, out: Path, step: int, validation_owed: bool = False) -> None:
        self._path = out / LOG_FILE
        kept = self._drop_after(step, validation_owed)
        dropped_from = step if validation_owed else step + 1  # TensorBoard drops all kinds of a step together
        self._writer = _summary_writer(out / TENSORBOARD_DIR, dropped_from)
        for record in kept:
            if record["step"] >= dropped_from:
                self._show(record.pop("kind"), record.pop("step"), record)

    def _drop_after(self, step: int, validation_owed: bool) -> list[dict[str, Any]]:
        """Drop lines that do not hold any more; returns what the others say."""
        if not self._path.is_file():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _still_holds(line, step, validation_owed)]
        with atomic_path(self._path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        return [json.loads(line) for line in kept]

    def write(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """Add one line `{"kind", "step", ...figures}`.

        Raises:
            OutputError: the disk is full or read-only.
        """
        record = {"kind": kind, "step": step} | {name: float(f"{value:.6g}") for name, value in figures.items()}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error}") from error
        self._show(kind, step, figures)

    def _show(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()


class NoLog:
    """The log of a process that does not write one."""

    def write(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _still_holds(line: str, step: int, validation_owed: bool) -> bool:
    """Whether a run that continues from `step` has written this line; one that is damaged is dropped."""
    try:
        record = json.loads(line)
        last = step - 1 if validation_owed and record.get("kind") == VALIDATION else step
        return float(record["step"]) <= last
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _summary_writer(folder: Path, dropped_from: int) -> Any:
    """Goes on in a folder from which the entries of a step, and all later ones, are dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _log.info("no TensorBoard log: install `tensorboard` to get one; %s has the same figures", LOG_FILE)
        return None
    return SummaryWriter(str(folder), purge_step=dropped_from)


class StepFigures:
    """Mean of the figures of several steps, the seconds they took, and the share of these spent waiting for data.

    A figure that is not finite, as the gradient's norm where fp16 cannot hold it, is left out of the mean.
    The means go on where a run is resumed (`state`, `restore`); seconds and waiting are of the steps since.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._count = 0
        self._not_finite: dict[str, int] = defaultdict(int)
        self.start_clock()

    def start_clock(self) -> None:
        """Seconds and waiting count from here; the means stay."""
        self._timed = 0
        self._waited = 0.0
        self._start = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """Plain values, for `restore`."""
        return {"sums": dict(self._sums), "count": self._count, "not_finite": dict(self._not_finite)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the means of an interrupted run."""
        self._sums = defaultdict(float, state["sums"])
        self._count = state["count"]
        self._not_finite = defaultdict(int, state.get("not_finite", {}))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time that something else than steps takes."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def timing_the_wait(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; how long each takes to come counts as waiting."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            yield item

    def add(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            if math.isfinite(value):
                self._sums[name] += value
            else:
                self._not_finite[name] += 1
        self._count += 1
        self._timed += 1

    def mean(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._start
        counts = {name: self._count - self._not_finite[name] for name in self._sums}
        return {name: value / counts[name] for name, value in self._sums.items() if counts[name]} | {
            "seconds_per_step": seconds / self._timed,
            "waiting_share": self._waited / seconds,
        }
