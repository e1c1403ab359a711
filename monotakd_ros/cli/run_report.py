"""What `monotakd train` leaves at the end of a run, `summary.json`, `curves.png` and `maps.png`, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monotakd_ros.atomic import atomic_path
from monotakd_ros.config import Config
from monotakd_ros.network.checkpoint import load_network
from monotakd_ros.network.student import Student
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.guides import Guides
from monotakd_ros.training.map_strengths import map_strengths, telling_frame
from monotakd_ros.training.run_folder import CURVES_FILE, FINAL_FILE, MAPS_FILE
from monotakd_ros.training.run_options import RunResult
from monotakd_ros.training.run_summary import read_log, summarize, write_summary
from monotakd_ros.visualization.bev_maps import draw_bev_maps
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


def report_maps(out: Path, guides: Guides, frames: Sequence[TrainingFrame], device: str) -> str:
    """Draw what guides and the student that they taught make of one frame; returns what to print.

    Args:
        out: folder of the finished run.
        guides: on `device`.
        frames: of which the most telling one is taken; without a cloud in any there is no picture.
        device: where the networks run.

    Raises:
        OutputError: the disk is full or read-only.
        SourceError: a cached frame is damaged.
    """
    frame = telling_frame(frames)
    if frame is None:
        return "no picture of the maps: no frame has a cloud"
    student, checkpoint = load_network(out / FINAL_FILE, device)
    assert isinstance(student, Student), "guides of both kinds teach students only"
    config = checkpoint.config
    seen = map_strengths(student, guides, frame, config.training.distillation, torch.device(device))
    x0, y0, _, x1, y1, _ = config.student.grid.range_m
    title = f"{seen.name}: how strongly each BEV map speaks, {config.name}, recipe {config.training.recipe or '-'}"
    with atomic_path(out / MAPS_FILE) as temporary:
        temporary.write_bytes(draw_bev_maps(seen.image, seen.maps, (x0, y0, x1, y1), seen.boxes_lidar, title))
    return f"what guides and student see: {out / MAPS_FILE}"


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
