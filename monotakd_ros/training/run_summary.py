"""What a run was and came to, in one file beside its logs: `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from monotakd_ros.atomic import atomic_path
from monotakd_ros.config import Config
from monotakd_ros.errors import TrainingError
from monotakd_ros.provenance import code_commit, device_name, versions
from monotakd_ros.training.run_folder import LOG_FILE, SUMMARY_FILE
from monotakd_ros.training.run_log import TRAIN, VALIDATION
from monotakd_ros.training.step_split import StepSplit

Record = Mapping[str, Any]


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`, oldest first; none for a run that has logged nothing.

    Raises:
        TrainingError: a line is damaged; names it.
    """
    path = out / LOG_FILE
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            records.append({"kind": str(record["kind"]), "step": int(record["step"])} | record)
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path}, line {number}: expected a record of a run: {error}") from error
    return records


def summarize(
    records: Sequence[Record], steps: int, finished: bool, kind: str, config: Config, device: str, processes: int = 1
) -> dict[str, Any]:
    """Plain values about a run.

    Args:
        records: of its log.
        steps: done so far.
        finished: whether that is all of them.
        kind: which network.
        config: what it was trained with.
        device: where.
        processes: how many took each step together.

    Returns:
        What was trained and with what; `steps`, `frames_per_second` and `waiting_share` (of the time, for data; medians
        over the log, None where nothing is logged); `losses` of the last log line; `validation`: the last one, and
        the step and score of the best.
    """
    train = [record for record in records if record["kind"] == TRAIN]
    validations = [record for record in records if record["kind"] == VALIDATION]
    seconds = _median(train, "seconds_per_step")
    best = max(validations, key=lambda record: record.get("score", 0.0), default=None)
    settings = config.training
    return {
        "network": kind,
        "config": config.name,
        "recipe": settings.recipe or None,
        "seed": settings.seed,
        "steps": steps,
        "finished": finished,
        "batch_size": settings.batch_size,
        "accumulate": settings.accumulate,
        "processes": processes,
        "seconds_per_step": seconds,
        "frames_per_second": StepSplit.of(settings, processes).frames / seconds if seconds else None,
        "waiting_share": _median(train, "waiting_share"),
        "losses": {} if not train else {key: value for key, value in train[-1].items() if key.startswith("loss")},
        "validation": None if not validations else _figures(validations[-1]),
        "best": None if best is None else {"step": best["step"], "score": best.get("score")},
        "device": device_name(torch.device(device)),
        "versions": versions(),
        "commit": code_commit(),
    }


def _median(records: Sequence[Record], key: str) -> float | None:
    values = [float(record[key]) for record in records if key in record]
    return median(values) if values else None


def _figures(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "kind"}


def write_summary(out: Path, summary: Mapping[str, Any]) -> None:
    """Write `summary.json`.

    Raises:
        OutputError: the disk is full or read-only.
    """
    with atomic_path(out / SUMMARY_FILE) as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
