"""`monotakd inspect`: what bags hold and whether they are good for training, in seconds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path
from monotakd_ros.cli.inspect_report import report
from monotakd_ros.cli.source_arguments import add_source_arguments, source_options
from monotakd_ros.errors import BagError, OutputError, SourceError
from monotakd_ros.inspection.inspection import Inspection, inspect_bag
from monotakd_ros.inspection.overlay import draw_inspection
from monotakd_ros.visualization.film import write_png

DESCRIPTION = """\
Say what bags hold, before hours of work go into them: topics, rates, gaps and stamps; whether images, CameraInfo,
clouds and tf fit each other; how far apart in time images and clouds are; how well the LiDAR's depth edges meet the
image's edges, and whether a small rotation or time shift would agree better. Ends with what to do about it.

Every message's head is read (of bags over 1 GiB: 24 spans), images and clouds of 32 moments are decoded.
"""

EPILOG = """\
examples:
  monotakd inspect drive_0005
  monotakd inspect drives/* --json drives.json
  monotakd inspect drive.mcap --image-topic /cam0/image_raw --png overlay.png

With several bags, --png puts each bag's name before the file's: overlay.png becomes drive_0005.overlay.png.
Exit codes: 0 the bags could be read, with or without warnings; 1 one could not; 130 interrupted.
"""


def add_parser(subparsers: Any) -> None:
    """Register `inspect`."""
    parser = subparsers.add_parser(
        "inspect",
        help="say what bags hold and whether they are good for training: times, tf, calibration",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bags", metavar="BAG", type=Path, nargs="+", help="rosbag folder, or .mcap, .db3 or .bag file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON, a list of bags")
    parser.add_argument("--png", type=Path, metavar="FILE", help="also draw the LiDAR's points over an image")
    parser.add_argument("--whole", action="store_true", help="read every message's head, however large the bag is")
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Inspect; returns the exit code.

    Raises:
        OutputError: a file cannot be written.
    """
    for path in (args.json, args.png):
        if path is not None and path.is_dir():
            raise OutputError(f"{path}: expected the name of a file to write, found a folder")
    results, unreadable = [], 0
    for number, bag in enumerate(args.bags):
        print("\n" * bool(number), end="")
        try:
            inspection = _inspect(bag, args)
        except SourceError as error:
            print(f"error: {error}", file=sys.stderr)
            results.append({"path": str(bag), "error": str(error)})
            unreadable += 1
            continue
        print(report(inspection))
        results.append(inspection.to_dict())
        if args.png is not None:
            _draw(inspection, args.png if len(args.bags) == 1 else args.png.with_name(f"{bag.stem}.{args.png.name}"))
    if args.json is not None:
        with atomic_path(args.json) as path:
            path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"JSON: {args.json}")
    return 1 if unreadable else 0


def _inspect(bag: Path, args: argparse.Namespace) -> Inspection:
    if not bag.exists():
        raise BagError(f"{bag}: no such file or folder")
    return inspect_bag(bag, source_options(args), args.whole)


def _draw(inspection: Inspection, path: Path) -> None:
    picture = draw_inspection(inspection)
    if picture is None:
        print("picture: none, since no image with a cloud and a transform between them was found")
        return
    with atomic_path(path) as temporary:
        write_png(temporary, picture)
    print(f"picture: {path}")
