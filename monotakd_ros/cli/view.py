"""`monotakd view`: look at a generated set, or at any source: pictures, a bag for RViz and Foxglove, or a window."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from monotakd_ros.cli.argument_types import positive_int
from monotakd_ros.cli.skipped_frames import name_skipped
from monotakd_ros.cli.source_arguments import SOURCE_HELP, add_source_arguments, source_options
from monotakd_ros.errors import ConfigError
from monotakd_ros.preview.bag import bag_folder, require_free, write_bag
from monotakd_ros.preview.output import require_place
from monotakd_ros.preview.pictures import VIEW_KINDS, caption, write_pictures
from monotakd_ros.preview.source import BoxedSource
from monotakd_ros.preview.walk import FrameWalk
from monotakd_ros.preview.window import KEYS_TEXT, show
from monotakd_ros.visualization.scene_geometry import CloudColour

DEFAULT_PICTURES = 20
"""Frames that get a picture each where --frames does not say how many."""

DESCRIPTION = """\
Look at a set that `monotakd generate` made, or at any source. Without --out and --bag a window opens
(needs a screen and Open3D). A set shows its labels, its uncertain boxes, the teacher's and the assistant's, and what
the recording knew (truth); other sources show their labels.

  --out DIR   frames/NAME.png   the image with the labels by class, uncertain boxes grey, truth dashed; the image with
                                the LiDAR's depth over it; the scene from above with all boxes
              strip.png         some of those pictures below each other
              video.mp4         all of them
              view.json         which frames, and how many boxes of each kind
  --bag OUT   rosbag2 (MCAP): /camera/image_rect/compressed (JPEG), /camera/camera_info, /lidar/points, /tf_static, /tf,
              and as Detection3DArray, each with a MarkerArray at NAME/markers: /labels, /uncertain, /teacher,
              /assistant, /ground_truth
"""

EPILOG = """\
examples:
  monotakd view set --out set_pictures
  monotakd view set --out set_video --pictures video
  monotakd view set --bag set_preview             # ros2 bag play set_preview, or open set_preview.mcap in Foxglove
  monotakd view drive.mcap                        # a window: N next frame, P previous

Topics of a bag that `view` wrote are read as those of any other: --ground-truth-topic /labels takes the labels. In it,
a recording that would begin before the last one ended follows it after a second.
"""


def add_parser(subparsers: Any) -> None:
    """Register `view`."""
    parser = subparsers.add_parser(
        "view",
        help="look at a generated set or a source: pictures, a bag for RViz and Foxglove, a window",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SET", type=Path, help=f"a generated set, or {SOURCE_HELP}")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of pictures to make")
    parser.add_argument(
        "--bag", type=Path, metavar="OUT", help="bag to make: a folder; OUT.mcap names the same folder, OUT"
    )
    parser.add_argument("--pictures", choices=tuple(VIEW_KINDS), help="which pictures --out gets (default: frames)")
    parser.add_argument(
        "--frames",
        type=positive_int,
        metavar="N",
        help=f"at most N frames, evenly spread (default: all; {DEFAULT_PICTURES} for pictures other than a video)",
    )
    parser.add_argument(
        "--colour", choices=get_args(CloudColour), default="height", help="of the window's cloud (default: height)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier pictures in DIR, or a bag in OUT")
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """View; returns the exit code."""
    if args.pictures is not None and args.out is None:
        raise ConfigError("--pictures says which pictures --out gets: it needs --out DIR")
    if args.out is not None:
        require_place(args.out, args.overwrite, [args.source])
    if args.bag is not None:
        require_free(args.bag, args.overwrite, [args.source])
    with contextlib.closing(BoxedSource(args.source, replace(source_options(args), read_cut=True))) as source:
        if args.out is not None:
            _pictures(source, args)
        if args.bag is not None:
            preview_bag(source, args.bag, args.frames, args.overwrite)
        if args.out is None and args.bag is None:
            _window(source, args)
    return 0


def preview_bag(source: BoxedSource, out: Path, count: int | None, overwrite: bool = False) -> None:
    """Write a bag for RViz and Foxglove, with a progress bar, and say so."""
    with _bar(source, count) as bar:
        written, skipped = write_bag(source, out, count, overwrite, bar.update)
    name_skipped(skipped)
    print(f"{bag_folder(out)}: {written} frames; play it with ros2 bag play, or open its .mcap in Foxglove")


def _pictures(source: BoxedSource, args: argparse.Namespace) -> None:
    kinds = VIEW_KINDS[args.pictures or "frames"]
    count = args.frames or (None if "video" in kinds else DEFAULT_PICTURES)
    with _bar(source, count) as bar:
        facts = write_pictures(source, args.out, kinds, count, args.overwrite, bar.update)
    name_skipped(facts["skipped"])
    print(f"{args.out}: {len(facts['frames'])} of {len(source)} frames; {', '.join(facts['files'].values())}")


def _window(source: BoxedSource, args: argparse.Namespace) -> None:
    skipped: list[Exception] = []
    start_ns: list[int] = []

    def tell(boxed: Any) -> None:
        if not start_ns:
            start_ns.append(boxed.frame.stamp_ns)
            print(KEYS_TEXT)
        print(caption(boxed, start_ns[0]), flush=True)

    show(FrameWalk(source.frames(args.frames, skipped.append)), args.colour, tell)
    name_skipped(skipped)


@contextlib.contextmanager
def _bar(source: BoxedSource, count: int | None) -> Iterator[tqdm]:
    total = min(len(source), count or len(source))
    with tqdm(total=total, desc="view", unit="frame", file=sys.stderr, disable=None, leave=False) as bar:
        yield bar
