"""`monotakd replay`: run a recording through the detector; write boxes, pictures and a summary."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from monotakd_ros.atomic import refuse_to_lose
from monotakd_ros.cli.argument_types import positive_int, weights_file
from monotakd_ros.cli.replay_report import report
from monotakd_ros.cli.source_arguments import SOURCE_HELP, add_source_arguments, source_options
from monotakd_ros.config import Amp
from monotakd_ros.data.source import FrameSource, open_source
from monotakd_ros.detector import Detector
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.replay.run import ReplayOptions, ReplayResult, replay
from monotakd_ros.replay.tally import Tally
from monotakd_ros.shipped import default_checkpoint

DESCRIPTION = """\
Run every frame of a recording through the detector, in time order, and write to DIR:

  detections/    rosbag2 (MCAP) with Detection3DArray, MarkerArray, LabelInfo, CameraInfo and tf_static
  video.mp4      camera with boxes beside the scene from above; ground truth dashed where the source has it
  strip.png      some of those pictures below each other
  summary.json   counts, skipped frames with reasons, latency per stage, KITTI AP where the source has labels

A frame that cannot be used is skipped and counted. The same input gives the same boxes, bit for bit, on one machine.
"""

CHECKPOINT_HELP = "weights of a student, or of an assistant or teacher for sources with clouds (default: those shipped)"

EPILOG = """\
examples:
  monotakd replay drive --out drive_boxes
  monotakd replay drive.mcap --checkpoint run/best.pt --out boxes --device cuda --pictures video
  monotakd replay /data/kitti/training --split val --checkpoint run/best.pt --out val_boxes --pictures strip
  ros2 bag play drive_boxes/detections        # on any ROS 2 machine; --with-images adds the camera

Ctrl-C keeps what is done so far, with "interrupted": true in the summary, and exits with 130.
"""


def add_parser(subparsers: Any) -> None:
    """Register `replay`."""
    parser = subparsers.add_parser(
        "replay",
        help="run a recording through the detector; write boxes, pictures and a summary",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="BAG", type=Path, help=SOURCE_HELP)
    parser.add_argument("--checkpoint", type=weights_file, metavar="CKPT", help=CHECKPOINT_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--amp", choices=get_args(Amp), default="off", help="compute in half precision (default: off)")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad frame, leaving nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier replay in DIR")
    parser.add_argument(
        "--pictures", choices=("none", "strip", "video", "all"), default="all", help="which pictures (default: all)"
    )
    parser.add_argument("--with-images", action="store_true", help="also put the camera images (JPEG) into the bag")
    parser.add_argument("--with-points", action="store_true", help="also put the LiDAR clouds into the bag")
    parser.add_argument(
        "--shown-score",
        type=float,
        default=ReplayOptions.shown_score,
        metavar="S",
        help=f"draw and mark only boxes with at least this score (default: {ReplayOptions.shown_score}); "
        "the Detection3DArray holds them all",
    )
    parser.add_argument("--frames", type=positive_int, metavar="N", help="only the first N frames")
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay one source and say what came out."""
    checkpoint = args.checkpoint or default_checkpoint()
    refuse_to_lose(args.out, args.overwrite, (args.source, checkpoint))
    options = ReplayOptions(
        strict=args.strict,
        overwrite=args.overwrite,
        pictures=args.pictures,
        images=args.with_images,
        points=args.with_points,
        max_frames=args.frames,
        shown_score=args.shown_score,
    )
    with contextlib.closing(open_source(args.source, source_options(args))) as source:
        result = replay_with_bar(source, checkpoint, args.device, args.out, options, args.amp)
    print(report(result))
    return 0


def replay_with_bar(
    source: FrameSource, checkpoint: Path, device: str, out: Path, options: ReplayOptions, amp: Amp = "off"
) -> ReplayResult:
    """`replay.run.replay` with a progress bar on stderr."""
    name = CheckpointName.of(checkpoint)
    detector = Detector.from_checkpoint(checkpoint, device, amp)
    total = min(len(source), options.max_frames or len(source))
    with tqdm(total=total, desc="replay", unit="frame", file=sys.stderr, leave=False) as bar:

        def show(tally: Tally) -> None:
            bar.update(len(tally.stamps_ns) + len(tally.skipped) - bar.n)
            if tally.skipped:
                bar.set_postfix(skipped=len(tally.skipped))

        return replay(source, detector, name, out, options, show)
