"""`monotakd demo`: simulate a drive the shipped weights never saw, replay it, score the boxes against the truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monotakd_ros.cli.argument_types import weights_file
from monotakd_ros.cli.evaluate import report_with_bar
from monotakd_ros.cli.replay import replay_with_bar
from monotakd_ros.cli.replay_report import report
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.source import open_source
from monotakd_ros.frame import Frame
from monotakd_ros.replay.run import BAG_NAME, ReplayOptions
from monotakd_ros.report.evaluate import ReportOptions
from monotakd_ros.report.recorded_bag import gather_bag
from monotakd_ros.report.writer import HTML_NAME
from monotakd_ros.shipped import default_checkpoint
from monotakd_ros.simulation.drive import DriveSettings
from monotakd_ros.simulation.parallel import default_jobs, rendered_frames

DRIVE_NAME = "drive"
REPLAY_NAME = "replay"
REPORT_NAME = "report"
DEMO_SEED = 9_000_001
"""Far from the seeds of the training drives (models/manifest.yaml)."""

DESCRIPTION = """\
Show the whole path on a machine with nothing but this package: simulate a drive with a seed that the shipped weights
never saw, run its camera through the detector, draw pictures, and score the recorded boxes against the exact truth.

  OUT/drive/     the simulated recording (rosbag2): camera, LiDAR, tf, ground truth
  OUT/replay/    boxes (rosbag2), video, picture strip, summary.json: see `monotakd replay --help`
  OUT/report/    report.html to open in a browser, report.json: see `monotakd evaluate --help`
"""

EPILOG = """\
examples:
  monotakd demo --out demo_output
  monotakd demo --out demo_output --overwrite --frames 100 --seed 9000002
"""


def add_parser(subparsers: Any) -> None:
    """Register `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="simulate a drive, replay it with the shipped weights, compare with the truth",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the recording and the boxes")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo in DIR")
    parser.add_argument("--frames", type=int, default=50, metavar="N", help="length of the drive (default: 50)")
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help=f"of the drive (default: {DEMO_SEED})")
    parser.add_argument(
        "--checkpoint", type=weights_file, metavar="CKPT", help="weights (default: those that are shipped)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate, replay, compare, tell."""
    checkpoint = args.checkpoint or default_checkpoint()
    drive, boxes, page = (args.out / name for name in (DRIVE_NAME, REPLAY_NAME, REPORT_NAME))
    print(f"1/3  simulating {args.frames} frames (seed {args.seed}) into {drive}")
    _simulate(DriveSettings(frames=args.frames, seed=args.seed), drive, args.overwrite)
    print(f"2/3  looking for boxes with {checkpoint.name}")
    with closing(open_source(drive)) as source:
        result = replay_with_bar(source, checkpoint, args.device, boxes, ReplayOptions(overwrite=args.overwrite))
    print(f"3/3  scoring them into {page}")
    _report(boxes, drive, page, args.overwrite)
    print(f"\n{report(result)}\nreport:   {page / HTML_NAME}")
    return 0


def _report(boxes: Path, drive: Path, page: Path, overwrite: bool) -> None:
    """Score the bag that the replay wrote: what a live detector's recording would be scored like."""
    options = ReportOptions(overwrite=overwrite)
    report_with_bar(gather_bag(boxes / BAG_NAME, drive), page, options)


def _simulate(settings: DriveSettings, out: Path, overwrite: bool) -> None:
    frames = rendered_frames(settings, default_jobs(settings.frames))
    with open_writer(out, "bag", overwrite) as writer, closing(frames):
        for frame in _with_bar(frames, settings.frames):
            writer.write(frame)


def _with_bar(frames: Iterable[Frame], total: int) -> Iterator[Frame]:
    return iter(tqdm(frames, total=total, desc="simulate", unit="frame", file=sys.stderr, leave=False))
