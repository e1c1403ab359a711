"""`monotakd compare`: whether one of two evaluated detectors is better beyond noise."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path
from monotakd_ros.cli.evaluate import figures_bar
from monotakd_ros.cli.resampling_arguments import add_resampling_arguments, resampling_from
from monotakd_ros.errors import ConfigError
from monotakd_ros.evaluation.bootstrap import Difference
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES
from monotakd_ros.report.comparison import Comparison, compare_reports

DESCRIPTION = """\
Compare two reports of `monotakd evaluate` on the same frames, figure by figure: AP (R40) of A and B, and the 95 %
interval of B - A. Both are resampled together, frame by frame, so what makes a frame hard for both cancels. A
difference whose interval leaves out zero is beyond the noise of which frames were recorded; it says nothing about
other roads than those recorded, nor about the luck of training (for that, train with several seeds).
"""

EPILOG = """\
examples:
  monotakd compare report_before report_after
  monotakd compare report_before report_after --all --json difference.json

The difference of an honest comparison is one that was named before looking: of twenty figures, one leaves zero out
by chance. Exit code: 0 whatever the outcome.
"""


def add_parser(subparsers: Any) -> None:
    """Register `compare`."""
    parser = subparsers.add_parser(
        "compare",
        help="say whether one of two evaluated detectors is better beyond noise",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, metavar="REPORT_A", help="folder of a report")
    parser.add_argument("b", type=Path, metavar="REPORT_B", help="folder of the other")
    parser.add_argument("--all", action="store_true", help="every figure, not only moderate 3D and BEV")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all of it here")
    parser.add_argument("--allow-missing", action="store_true", help="compare the frames that both reports have")
    add_resampling_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    resampling = resampling_from(args)
    if not resampling.resamples:
        raise ConfigError("--resamples: expected at least 1, got 0: without draws there is no noise to compare with")
    with figures_bar(len(KITTI_CLASSES)) as step:
        comparison = compare_reports(args.a, args.b, resampling, args.allow_missing, step)
    if args.json is not None:
        with atomic_path(args.json) as path:
            path.write_text(json.dumps(comparison.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(_text(comparison, args.all))
    return 0


def _text(comparison: Comparison, every: bool) -> str:
    resampling = comparison.resampling
    shown = [item for item in comparison.differences if every or _is_headline(item)]
    lines = [
        f"A: {comparison.titles[0]}",
        f"B: {comparison.titles[1]}",
        f"{comparison.frames} frames"
        + (f" ({comparison.left_out} that only one report has left out)" if comparison.left_out else "")
        + f", {resampling.resamples} draws of {resampling.block_frames} consecutive frames, seed {resampling.seed}",
        f"{'AP (R40, %)':<34}{'A':>8}{'B':>8}{'B - A':>8}{'95 % interval':>18}  verdict",
        *(_row(item) for item in shown),
    ]
    return "\n".join([*lines, _conclusion(comparison)])


def _is_headline(item: Difference) -> bool:
    return item.cell.difficulty == "moderate" and item.cell.metric in ("3d", "bev")


def _row(item: Difference) -> str:
    cell = item.cell
    name = f"{cell.class_name} {cell.metric.upper()} {cell.overlaps} {cell.difficulty}"
    interval = f"{item.low:+.1f} to {item.high:+.1f}"
    return f"{name:<34}{item.a:8.1f}{item.b:8.1f}{item.b - item.a:+8.1f}{interval:>18}  {_verdict(item)}"


def _verdict(item: Difference) -> str:
    if not item.is_beyond_noise:
        return "within noise"
    return "B is better" if item.low > 0 else "A is better"


def _conclusion(comparison: Comparison) -> str:
    first = next((item for item in comparison.differences if _is_headline(item) and item.cell.metric == "3d"), None)
    if first is None:
        return "nothing to compare: no ground truth of moderate difficulty of a class that both reports evaluated"
    name = f"{first.cell.class_name} 3D moderate (strict)"
    if first.is_beyond_noise:
        return f"{name}: {_verdict(first)}, beyond noise"
    return f"{name}: the difference is within noise"
