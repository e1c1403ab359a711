"""What `monotakd train` leaves and says at the end of a run: `summary.json`, `curves.png` and a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path
from monotakd_ros.config import Config
from monotakd_ros.training.run_folder import CURVES_FILE, FINAL_FILE
from monotakd_ros.training.run_options import RunResult
from monotakd_ros.training.run_summary import read_log, summarize, write_summary
from monotakd_ros.visualization.training_curves import draw_training_curves


def report_run(result: RunResult, out: Path, kind: str, config: Config, device: str, processes: int = 1) -> str:
    """Write both files; returns what to print.

    Raises:
        OutputError: the disk is full or read-only.
        TrainingError: the run's log is damaged.
    """
    records = read_log(out)
    summary = summarize(records, result.step, result.finished, kind, config, device, processes)
    write_summary(out, summary)
    recipe = f", recipe {summary['recipe']}" if summary["recipe"] else ""
    with atomic_path(out / CURVES_FILE) as temporary:
        temporary.write_bytes(draw_training_curves(records, f"{kind}, {config.name}{recipe}"))
    return "\n".join([*_figures(result.validation, summary, out), _end(result, out)])


def _figures(validation: Mapping[str, float], summary: Mapping[str, Any], out: Path) -> list[str]:
    lines = [f"{name}: {value:.2f}" for name, value in validation.items() if name.startswith("ap_")]
    speed, waiting = summary["frames_per_second"], summary["waiting_share"]
    if speed is not None:
        waited = "" if waiting is None else f", {waiting:.0%} of the time waiting for data"
        lines.append(f"{speed:.1f} frames/s{waited}; how it went: {out / CURVES_FILE}")
    return lines


def _end(result: RunResult, out: Path) -> str:
    if result.finished:
        return f"{result.step} steps done: {out / FINAL_FILE}"
    return f"stopped after step {result.step}; continue with --resume"
