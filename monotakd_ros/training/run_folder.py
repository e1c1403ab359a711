"""What a training run leaves on disk: `last.pt` (to resume), `best.pt` and `final.pt` (to deploy), logs.

`last.pt` holds weights, moving average, optimiser and position of a run and nothing but tensors and plain values, so
it loads with `weights_only=True`. All files appear whole or not at all.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import output_errors
from monotakd_ros.config import Config
from monotakd_ros.config_file import from_dict, to_dict
from monotakd_ros.errors import CheckpointError, ConfigError, OutputError, TrainingError
from monotakd_ros.network.tensor_file import read_tensor_file, write_tensor_file

_log = logging.getLogger(__name__)

STATE_VERSION = 2
STATE_FILE = "last.pt"
BEST_FILE = "best.pt"
FINAL_FILE = "final.pt"
LOG_FILE = "log.jsonl"
SUMMARY_FILE = "summary.json"
CURVES_FILE = "curves.png"
MAPS_FILE = "maps.png"
TENSORBOARD_DIR = "tensorboard"
CACHE_DIR = "cache"
OWN_NAMES = (STATE_FILE, BEST_FILE, FINAL_FILE, LOG_FILE, SUMMARY_FILE, CURVES_FILE, MAPS_FILE, TENSORBOARD_DIR)

FREE_KEYS = frozenset(
    f"training.{name}"
    for name in (
        "steps",
        "num_workers",
        "log_every",
        "validate_every",
        "checkpoint_every",
        "checkpoint_minutes",
        "activation_checkpointing",
        "amp",
    )
)
"""Settings that a resumed run may change."""

SPLIT_KEYS = ("training.batch_size", "training.accumulate", "processes")
"""May change too as long as their product, the frames of a step, does not."""


def check_run_folder(out: Path, resume: bool, overwrite: bool) -> None:
    """Check that a run may use this folder; changes nothing.

    Raises:
        OutputError: a run or anything else is there and neither `resume` nor `overwrite` is given; or it is a file.
        TrainingError: `resume` without a run to resume.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: expected a folder for the run, this is a file")
    if resume:
        if not (out / STATE_FILE).is_file():
            raise TrainingError(f"{out}: nothing to resume: there is no {STATE_FILE}; start without --resume")
        return
    present = sorted(item.name for item in _content(out) if item.name != CACHE_DIR and not _is_leftover(item))
    if present and not overwrite:
        goes_on = "continue it with --resume, " if STATE_FILE in present else ""
        raise OutputError(
            f"{out}: exists and holds {', '.join(present[:5])}; {goes_on}replace it with --overwrite, or choose "
            "another folder"
        )


def open_run_folder(out: Path, resume: bool, overwrite: bool) -> None:
    """Make the folder of a run; with `overwrite` the files of the run that is there go, its cache stays.

    Raises:
        OutputError: see `check_run_folder`; or the folder cannot be written.
        TrainingError: see `check_run_folder`.
    """
    check_run_folder(out, resume, overwrite)
    with output_errors(out):
        for item in _content(out):
            if _is_leftover(item):
                _remove(item)
        if not resume:
            out.mkdir(parents=True, exist_ok=True)
            for name in OWN_NAMES:
                _remove(out / name)


def _content(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_leftover(path: Path) -> bool:
    """Whether this is a run's file under a temporary name, whose writer was killed."""
    return any(path.name.startswith(f".{name}.") for name in OWN_NAMES)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run.

    Raises:
        OutputError: the disk is full or read-only.
    """
    write_tensor_file(path, dict(state) | {"version": STATE_VERSION})


def load_state(path: Path) -> dict[str, Any]:
    """Read the state of a run onto the CPU.

    Raises:
        CheckpointError: unreadable, or no state of a run.
    """
    state = read_tensor_file(path, refused="not a readable training state, or a damaged one")
    if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
        raise CheckpointError(f"{path}: expected a training state of version {STATE_VERSION}")
    return state


def check_same_run(
    path: Path,
    state: Mapping[str, Any],
    kind: str,
    config: Config,
    data: Mapping[str, Any],
    guides: Mapping[str, str],
    processes: int = 1,
) -> None:
    """Check that a resumed run trains the network, and has the settings, frames and guides, it was started with.

    A setting that did not exist when the run was started had its default then. How the frames of a step are split
    over processes and batches, and in which precision they are computed, may change, with a warning; how many they are
    may not.

    Raises:
        TrainingError: names every setting that differs, with both values.
        CheckpointError: the run's settings are not understood.
    """
    try:
        settings = to_dict(from_dict(Config, state["config"], "config"))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    saved = _flat(settings) | _flat(state["data"], "data") | {"network": state["kind"]}
    saved |= _flat(state.get("guides", {}), "guides")  # runs of earlier versions had none
    saved |= {"processes": state.get("processes", 1)}
    current = _flat(to_dict(config)) | _flat(data, "data") | {"network": kind} | _flat(guides, "guides")
    current |= {"processes": processes}
    free = FREE_KEYS | _free_split(saved, current)
    changed = [
        f"{key}: was {saved.get(key)!r}, now {current.get(key)!r}"
        for key in sorted(saved.keys() | current.keys())
        if saved.get(key) != current.get(key) and key not in free
    ]
    if changed:
        raise TrainingError(
            f"{path}: cannot resume with other settings: {'; '.join(changed)}. Restore them, or start a new run"
        )
    if saved["training.steps"] != config.training.steps:
        _log.warning(
            "steps change from %s to %s: the learning rate goes on along the new schedule",
            saved["training.steps"],
            config.training.steps,
        )
    if saved["training.amp"] != config.training.amp:
        _log.warning(
            "precision changes from %s to %s: the run goes on, but not bit for bit",
            saved["training.amp"],
            config.training.amp,
        )


def _free_split(saved: dict[str, Any], current: dict[str, Any]) -> frozenset[str]:
    """The split's keys where a step has as many frames as before; else both sides get that number, to be named."""
    for side in (saved, current):
        side["frames of a step"] = math.prod(side[key] for key in SPLIT_KEYS)
    if saved["frames of a step"] != current["frames of a step"]:
        return frozenset()
    changed = [f"{key}: was {saved[key]}, now {current[key]}" for key in SPLIT_KEYS if saved[key] != current[key]]
    if changed:
        _log.warning("the frames of a step are the same, split otherwise, so not bit for bit: %s", "; ".join(changed))
    return frozenset(SPLIT_KEYS)


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {key: values}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{key}.{name}" if key else str(name))
    return flat
