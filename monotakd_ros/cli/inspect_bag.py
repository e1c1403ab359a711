"""`monotakd inspect`: what bags hold and whether they are good for training, in seconds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path, require_free_file
from monotakd_ros.cli.inspect_report import report
from monotakd_ros.cli.source_arguments import add_source_arguments, source_options
from monotakd_ros.errors import BagError, SourceError
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
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Inspect; returns the exit code.

    Raises:
        OutputError: a file exists already, or cannot be written.
    """
    pictures = _picture_files(args.bags, args.png)
    for path in (args.json, *pictures):
        if path is not None:
            require_free_file(path, args.overwrite)
    results, unreadable = [], 0
    for number, (bag, picture) in enumerate(zip(args.bags, pictures)):
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
        if picture is not None:
            _draw(inspection, picture)
    if args.json is not None:
        with atomic_path(args.json) as path:
            path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"JSON: {args.json}")
    return 1 if unreadable else 0


def _picture_files(bags: list[Path], png: Path | None) -> list[Path | None]:
    """A file for each bag, named after it when there are several; bags of one name are numbered."""
    if png is None or len(bags) == 1:
        return [png] * len(bags)
    stems = [bag.resolve().stem for bag in bags]
    seen = [stems[:number].count(stem) for number, stem in enumerate(stems)]
    names = [f"{stem}_{count + 1}" if count else stem for stem, count in zip(stems, seen)]
    return [png.with_name(f"{name}.{png.name}") for name in names]


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
