"""`monotakd evaluate`: score a checkpoint, a recorded bag or KITTI result files, and write a report."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from monotakd_ros.cli.argument_types import finite, positive_int, weights_file
from monotakd_ros.cli.evaluate_report import summary
from monotakd_ros.cli.main import EXIT_DONE, EXIT_INTERRUPTED
from monotakd_ros.cli.resampling_arguments import add_resampling_arguments, resampling_from
from monotakd_ros.cli.source_arguments import SOURCE_HELP, add_source_arguments, source_options
from monotakd_ros.config import Amp
from monotakd_ros.data.kitti_text import kitti_type
from monotakd_ros.data.source import open_source
from monotakd_ros.detector import Detector
from monotakd_ros.errors import ConfigError, OutputError
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, METRICS, OVERLAPS
from monotakd_ros.evaluation.kitti_counting import DIFFICULTIES
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.report.checkpoint_run import Progress, RunOptions, gather_checkpoint
from monotakd_ros.report.evaluate import ReportOptions, evaluate, write_kitti_results
from monotakd_ros.report.gathered import Gathered
from monotakd_ros.report.kitti_folders import gather_kitti
from monotakd_ros.report.recorded_bag import gather_bag
from monotakd_ros.report.scoring import ScoringOptions
from monotakd_ros.report.writer import require_place_for_report
from monotakd_ros.shipped import default_checkpoint

DESCRIPTION = """\
Compare boxes with ground truth, by KITTI's own metric and beyond it, and write to REPORT_DIR:

  report.html     for people: tables, curves, pictures of the best and worst frames; one file, opens anywhere
  report.json     the same figures for programs; "kitti_ap" holds strict|loose > class > 2d|aos|bev|3d > R40|R11
  boxes.npz       both sides, for `monotakd compare`
  kitti_results/  results in KITTI's format (zip its files for the benchmark's server)

Three kinds of boxes can be evaluated:

  --checkpoint CKPT --data SOURCE...     run a detector over labelled sources and score it
  --detections BAG --labels DIR|BAG      recorded vision_msgs/Detection3DArray, of this package or any other detector
  --results DIR --labels DIR             KITTI text files on both sides
"""

EPILOG = """\
examples:
  monotakd evaluate --checkpoint run/best.pt --data drive_7 drive_8 --out report
  monotakd evaluate --data /data/kitti/training --split val --out report            # the shipped weights
  monotakd evaluate --detections boxes/detections --labels drive_7 --out report
  monotakd evaluate --detections night.mcap --labels night.mcap --class-map bicycle=Cyclist --out report
  monotakd evaluate --results results/data --labels training/label_2 --frames val.txt --out report
  monotakd evaluate --checkpoint run/best.pt --data /data/kitti --split test --results-only --out upload
  monotakd compare report_a report_b

Ctrl-C while a checkpoint runs scores what is done so far, says so in the report, and exits with 130.
"""


def add_parser(subparsers: Any) -> None:
    """Register `evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a checkpoint, a recorded bag or KITTI result files; write a report",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sides(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="REPORT_DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report in REPORT_DIR")
    parser.add_argument(
        "--allow-missing", action="store_true", help="evaluate the frames that both sides have, and name the others"
    )
    parser.add_argument(
        "--classes",
        type=_names,
        default=KITTI_CLASSES,
        metavar="A,B",
        help=f"classes to evaluate (default: {','.join(KITTI_CLASSES)})",
    )
    parser.add_argument(
        "--score",
        type=finite,
        metavar="S",
        help="operating score for errors, coverage and pictures (default: that of best F1 for each class)",
    )
    parser.add_argument(
        "--pictures", type=int, default=3, metavar="N", help="frames shown of each kind; 0 for none (default: 3)"
    )
    _add_run_arguments(parser)
    _add_bag_arguments(parser)
    add_resampling_arguments(parser)
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Gather both sides, score them, write the report and say what came out."""
    mode = _mode(args)
    _require_place(args)
    with contextlib.ExitStack() as stack:
        gathered = _GATHER[mode](args, stack)
        if args.results_only:
            write_kitti_results(args.out, gathered.frames)
            print(f"{len(gathered.frames)} result files in KITTI's format: {args.out}")
        else:
            scoring = ScoringOptions(args.classes, resampling_from(args), args.score)
            options = ReportOptions(scoring, max(args.pictures, 0), args.overwrite)
            print(summary(report_with_bar(gathered, args.out, options), args.out))
    return EXIT_INTERRUPTED if gathered.run.get("interrupted") else EXIT_DONE


def _require_place(args: argparse.Namespace) -> None:
    """Before the work: the folder may be written, and nothing goes away that is read, or that is no report."""
    if args.results_only and args.out.exists():
        raise OutputError(f"{args.out}: exists already; --results-only replaces nothing, choose another name")
    given = (args.checkpoint, *(args.data or ()), args.detections, args.results, args.labels, args.frames)
    require_place_for_report(args.out, args.overwrite, [path for path in given if path is not None])


def _add_sides(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to compare")
    group.add_argument(
        "--checkpoint", type=weights_file, metavar="CKPT", help="weights to run over --data (default: those shipped)"
    )
    group.add_argument("--data", type=Path, nargs="+", metavar="SOURCE", help=f"labelled: {SOURCE_HELP}")
    group.add_argument("--detections", type=Path, metavar="BAG", help="bag with a Detection3DArray topic")
    group.add_argument("--results", type=Path, metavar="DIR", help="KITTI result files, NAME.txt with 16 fields a line")
    group.add_argument(
        "--labels", type=Path, metavar="DIR|BAG", help="ground truth: KITTI label files, or any labelled source"
    )
    group.add_argument("--frames", type=Path, metavar="LIST", help="with --results: file of frame names to evaluate")


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running a checkpoint")
    group.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    group.add_argument("--amp", choices=get_args(Amp), default="off", help="compute in half precision (default: off)")
    group.add_argument("--max-frames", type=positive_int, metavar="N", help="only the first N frames of each source")
    group.add_argument(
        "--results-only",
        action="store_true",
        help="write KITTI result files to REPORT_DIR and compare nothing: for frames without labels",
    )


def _add_bag_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading recorded detections")
    group.add_argument("--detections-topic", metavar="TOPIC", help="which Detection3DArray (default: the single one)")
    group.add_argument(
        "--tolerance",
        type=finite,
        default=0.05,
        metavar="S",
        help="largest time between boxes and the ground truth they are compared with, s (default: 0.05)",
    )
    group.add_argument(
        "--class-map",
        type=_renaming,
        action="append",
        default=[],
        metavar="FROM=TO",
        help="another detector's class name, or number, as ours; repeat for more",
    )


def _mode(args: argparse.Namespace) -> str:
    runs = args.checkpoint is not None or args.data is not None
    given = [
        name for name, used in (("data", runs), ("detections", args.detections), ("results", args.results)) if used
    ]
    if len(given) != 1:
        raise ConfigError(
            "expected one of --checkpoint CKPT --data SOURCE..., --detections BAG --labels DIR|BAG, and --results DIR "
            f"--labels DIR; got {' and '.join('--' + name for name in given) or 'none of them'}"
        )
    (mode,) = given
    if mode == "data" and args.data is None:
        raise ConfigError("--checkpoint: expected labelled sources to run it on: --data SOURCE...")
    if mode != "data" and args.labels is None:
        raise ConfigError(f"--{mode}: expected ground truth to compare with: --labels")
    if mode != "data" and args.results_only:
        raise ConfigError("--results-only: goes with --data; the boxes given here are results already")
    if args.frames is not None and mode != "results":
        raise ConfigError(
            "--frames: goes with --results; for a KITTI folder use --split, for a first part --max-frames"
        )
    return mode


def _run_checkpoint(args: argparse.Namespace, stack: contextlib.ExitStack) -> Gathered:
    checkpoint = args.checkpoint or default_checkpoint()
    name = CheckpointName.of(checkpoint)
    detector = Detector.from_checkpoint(checkpoint, args.device, args.amp)
    options = source_options(args)
    sources = [stack.enter_context(contextlib.closing(open_source(path, options))) for path in args.data]
    total = sum(min(len(source), args.max_frames or len(source)) for source in sources)
    with tqdm(total=total, desc="detect", unit="frame", file=sys.stderr, leave=False) as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.count() - bar.n)

        limits = RunOptions(args.max_frames, labelled_only=not args.results_only)
        return gather_checkpoint(detector, name, sources, limits, show)


def _read_bag(args: argparse.Namespace, stack: contextlib.ExitStack) -> Gathered:
    return gather_bag(
        args.detections,
        args.labels,
        detections_topic=args.detections_topic,
        ground_truth_topic=args.ground_truth_topic,
        class_map=dict(args.class_map),
        tolerance_s=args.tolerance,
        allow_missing=args.allow_missing,
        source_options=source_options(args),
        class_names=args.classes,
    )


def _read_results(args: argparse.Namespace, stack: contextlib.ExitStack) -> Gathered:
    return gather_kitti(args.results, args.labels, args.frames, args.allow_missing)


_GATHER: dict[str, Callable[[argparse.Namespace, contextlib.ExitStack], Gathered]] = {
    "data": _run_checkpoint,
    "detections": _read_bag,
    "results": _read_results,
}


def report_with_bar(gathered: Gathered, out: Path, options: ReportOptions) -> dict[str, Any]:
    """`report.evaluate.evaluate` with a progress bar on stderr."""
    scoring = options.scoring
    with figures_bar(len(scoring.class_names), bool(scoring.resampling.resamples)) as step:
        return evaluate(gathered, out, options, step)


@contextlib.contextmanager
def figures_bar(num_classes: int, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr over the figures of some classes; yields what to call after each."""
    total = len(OVERLAPS) * num_classes * len(METRICS) * len(DIFFICULTIES)
    with tqdm(total=total, desc="intervals", unit="figure", file=sys.stderr, leave=False, disable=not shown) as bar:
        yield lambda: bar.update() and None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(kitti_type(name.strip()) for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError(f"expected class names with commas between them, got {text!r}")
    return names


def _renaming(text: str) -> tuple[str, str]:
    old, separator, new = (part.strip() for part in text.partition("="))
    if not (old and separator and new):
        raise argparse.ArgumentTypeError(f"expected FROM=TO, e.g. bicycle=Cyclist, got {text!r}")
    return old, new
