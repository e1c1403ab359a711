"""`monotakd convert`: turn any source into a rosbag2 or a KITTI folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monotakd_ros.cli.skipped_frames import name_skipped
from monotakd_ros.cli.source_arguments import SOURCE_HELP, add_source_arguments, source_options
from monotakd_ros.cli.writer_arguments import add_writer_arguments, require_writable_encoding, writer_from
from monotakd_ros.data.frame_writers import FrameWriter
from monotakd_ros.data.source import FrameSource, open_source
from monotakd_ros.errors import FrameError

DESCRIPTION = """\
Turn a recording into a rosbag2 (MCAP) or a KITTI object folder, frame by frame: image, camera, cloud, labels, poses.

  bag     /camera/image_rect/compressed, /camera/camera_info, /lidar/points, /tf_static, /tf,
          /ground_truth (Detection3DArray) and /ground_truth/kitti (the labels as text, with nothing lost)
  kitti   training/{image_2,calib,label_2,velodyne}, ImageSets/all.txt; stamps in frames.csv, poses in poses.txt

Calibration, poses, clouds and images come back unchanged (JPEG bags apart). Images are rectified on reading where
their camera has distortion. A frame that cannot be used is skipped and named at the end.
"""

EPILOG = """\
examples:
  monotakd convert /data/kitti kitti_bag                          # KITTI folder -> rosbag2
  monotakd convert /data/2011_09_26/2011_09_26_drive_0005_sync drive_0005
  monotakd convert drive.bag drive_kitti --format kitti --image-topic /cam0/image_raw
  monotakd convert drive_0005 small --image-encoding jpeg --overwrite

Ctrl-C keeps the frames written so far and exits with 130.
"""


def add_parser(subparsers: Any) -> None:
    """Register `convert`."""
    parser = subparsers.add_parser(
        "convert",
        help="turn a bag, KITTI folder or KITTI raw drive into a bag or a KITTI folder",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", type=Path, help=SOURCE_HELP)
    add_writer_arguments(parser, "folder to make")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad frame, leaving nothing")
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit code.

    Raises:
        MonotakdError: the source or the output is unusable; OUT is then as it was.
    """
    require_writable_encoding(args)
    writer = writer_from(args)
    source = open_source(args.source, source_options(args))
    skipped: list[FrameError] = []
    try:
        _copy(source, writer, None if args.strict else skipped.append)
    except KeyboardInterrupt:
        _report(args.out, writer, skipped)
        raise
    finally:
        source.close()
    _report(args.out, writer, skipped)
    return 0


def _copy(source: FrameSource, writer: FrameWriter, on_error: Any) -> None:
    with writer, tqdm(total=len(source), desc="convert", unit="frame", disable=None) as progress:
        for frame in source.frames(on_error):
            writer.write(frame)
            progress.update()


def _report(out: Path, writer: FrameWriter, skipped: list[FrameError]) -> None:
    name_skipped(skipped)
    if writer.count:
        print(f"{out}: {writer.count} frames written, {len(skipped)} skipped")
