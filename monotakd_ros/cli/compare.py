"""`monotakd compare`: whether one of two evaluated detectors is better beyond noise."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path, require_free_file
from monotakd_ros.cli.evaluate import figures_bar
from monotakd_ros.cli.main import EXIT_DONE
from monotakd_ros.cli.resampling_arguments import add_resampling_arguments, resampling_from
from monotakd_ros.errors import ConfigError, OutputError
from monotakd_ros.evaluation.bootstrap import Difference
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES
from monotakd_ros.report.comparison import Comparison, compare_reports
from monotakd_ros.report.comparison_page import render_comparison
from monotakd_ros.report.comparison_wording import conclusion, verdict

DESCRIPTION = """\
Compare two reports of `monotakd evaluate` on the same frames, figure by figure: AP (R40) of A and B, and the 95 %
interval of B - A. Both are resampled together, frame by frame, so what makes a frame hard for both cancels. A
difference whose interval leaves out zero is beyond the noise of which frames were recorded; it says nothing about
other roads than those recorded, nor about the luck of training (for that, train with several seeds).
"""

EPILOG = """\
examples:
  monotakd compare report_before report_after
  monotakd compare report_before report_after --html difference.html
  monotakd compare report_before report_after --all --json difference.json --overwrite

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
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write a page to look at: charts, all figures, runs"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures, for programs")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE where it exists")
    parser.add_argument("--allow-missing", action="store_true", help="compare the frames that both reports have")
    add_resampling_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, write what is asked for, and print."""
    _require_places(args)
    with figures_bar(len(KITTI_CLASSES)) as step:
        comparison = compare_reports(args.a, args.b, resampling_from(args), args.allow_missing, step)
    written = _contents(args, comparison)
    with ExitStack() as together:
        for out, content in written.items():
            together.enter_context(atomic_path(out)).write_text(content, encoding="utf-8")
    print("\n".join([_text(comparison, args.all), *(f"written: {out}" for out in written)]))
    return EXIT_DONE


def _require_places(args: argparse.Namespace) -> None:
    """Before the work: every file may be written, and no report loses its own."""
    outputs = [out for out in (args.html, args.json) if out is not None]
    if len({out.resolve() for out in outputs}) < len(outputs):
        raise ConfigError(f"--html and --json: expected two files, got {outputs[0]} for both")
    for out in outputs:
        require_free_file(out, args.overwrite)
        if out.resolve().parent in (args.a.resolve(), args.b.resolve()):
            raise OutputError(f"{out}: lies in a report, which holds nothing but its own files; choose another place")


def _contents(args: argparse.Namespace, comparison: Comparison) -> dict[Path, str]:
    """What is to be written where; all of it is made before any of it is written."""
    contents = {}
    if args.html is not None:
        contents[args.html] = render_comparison(comparison)
    if args.json is not None:
        contents[args.json] = json.dumps(comparison.to_dict(), indent=1, allow_nan=False) + "\n"
    return contents


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
    return "\n".join([*lines, conclusion(comparison)])


def _is_headline(item: Difference) -> bool:
    return item.cell.difficulty == "moderate" and item.cell.metric in ("3d", "bev")


def _row(item: Difference) -> str:
    cell = item.cell
    name = f"{cell.class_name} {cell.metric.upper()} {cell.overlaps} {cell.difficulty}"
    interval = f"{item.low:+.1f} to {item.high:+.1f}"
    return f"{name:<34}{item.a:8.1f}{item.b:8.1f}{item.b - item.a:+8.1f}{interval:>18}  {verdict(item)}"
