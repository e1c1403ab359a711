"""The options by which a command writes frames, the same for every verb that makes a bag or a KITTI folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from monotakd_ros.data.frame_writers import FrameWriter, open_writer
from monotakd_ros.errors import OutputError


def add_writer_arguments(parser: argparse.ArgumentParser, out_help: str) -> None:
    """Add OUT, --format, --image-encoding and --overwrite."""
    parser.add_argument("out", metavar="OUT", type=Path, help=out_help)
    parser.add_argument("--format", choices=("bag", "kitti"), default="bag", help="what to write (default: bag)")
    parser.add_argument(
        "--image-encoding",
        choices=("png", "raw", "jpeg"),
        default="png",
        help="images in a bag: png and raw lose nothing, jpeg is small (default: png)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, once the new one is complete")


def require_writable_encoding(args: argparse.Namespace) -> None:
    """Check that the format holds images in the encoding asked for.

    Raises:
        OutputError: a KITTI folder with anything but PNG.
    """
    if args.image_encoding != "png" and args.format == "kitti":
        raise OutputError(f"--image-encoding {args.image_encoding}: KITTI folders hold PNG images")


def writer_from(args: argparse.Namespace) -> FrameWriter:
    """The writer that `add_writer_arguments` collected.

    Raises:
        OutputError: OUT exists and may not be replaced, or its place cannot be written.
    """
    return open_writer(args.out, args.format, args.overwrite, args.image_encoding)
