"""The short text that a replay ends with."""

from __future__ import annotations

from typing import Any

from monotakd_ros.cli.ap_table import ap_table
from monotakd_ros.replay.run import ReplayResult

MAX_REASONS = 3


def report(result: ReplayResult) -> str:
    """Counts, latency, accuracy where there is ground truth, and where the files are."""
    summary = result.summary
    parts = [_frames(summary), _detections(summary), _latency(summary), *_accuracy(summary), *_notes(summary)]
    return "\n".join([*parts, _files(result)])


def _frames(summary: dict[str, Any]) -> str:
    frames = summary["frames"]
    lines = [f"{summary['source']['name']}: {frames['written']} frames, {summary['recorded_s']:.1f} s recorded"]
    if frames["skipped"]:
        lines.append(f"skipped {frames['skipped']}:")
        lines += [f"  {reason}" for reason in summary["skipped"][:MAX_REASONS]]
        if frames["skipped"] > MAX_REASONS:
            lines.append("  ... (all in summary.json)")
    return "\n".join(lines)


def _detections(summary: dict[str, Any]) -> str:
    return "found: " + ", ".join(f"{count} {name}" for name, count in summary["detections"].items())


def _latency(summary: dict[str, Any]) -> str:
    lines = [f"{'ms a frame':>12}{'p50':>9}{'p95':>9}    {summary['device']}"]
    for stage, figures in summary["latency_ms"].items():
        lines.append(f"{stage:>12}{figures['p50']:9.1f}{figures['p95']:9.1f}")
    lines.append(f"{summary['frames_per_s']:.1f} frames/s with everything")
    return "\n".join(lines)


def _accuracy(summary: dict[str, Any]) -> list[str]:
    if summary["kitti_ap"] is None:
        return []
    table = ap_table(summary["kitti_ap"], summary["kitti_ap"]["strict"])
    title = f"KITTI AP (R40, %) against {summary['frames']['labelled']} labelled frames: easy / moderate / hard"
    return ["\n".join([title, *table])] if table else []


def _notes(summary: dict[str, Any]) -> list[str]:
    return [f"note: {note}" for note in summary["preprocessing_notes"]]


def _files(result: ReplayResult) -> str:
    files = result.summary["files"]
    named = {"bag": "boxes", "strip": "pictures", "video": "video"}
    lines = [f"{text + ':':<10}{result.out / files[kind]}" for kind, text in named.items() if kind in files]
    return "\n".join([*lines, f"{'summary:':<10}{result.out / 'summary.json'}"])
