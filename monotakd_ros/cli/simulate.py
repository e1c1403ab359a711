"""`monotakd simulate`: drive through a simulated world; write a labelled bag or KITTI folder."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from tqdm import tqdm

from monotakd_ros.cli.argument_types import positive_int
from monotakd_ros.cli.writer_arguments import add_writer_arguments, require_writable_encoding, writer_from
from monotakd_ros.data.frame_writers import FrameWriter
from monotakd_ros.simulation.drive import DriveSettings
from monotakd_ros.simulation.parallel import default_jobs, rendered_frames

DESCRIPTION = """\
Drive through a street made from a seed (Open3D ray casting, no display needed) and record camera, 64-beam LiDAR,
calibration, ego poses and exact 3D labels with KITTI truncation and occlusion. The same options always give the
same frames on one machine; another seed gives another street, weather and traffic.
"""

EPILOG = """\
examples:
  monotakd simulate drive --frames 100 --seed 7
  monotakd simulate drive_kitti --frames 50 --seed 7 --format kitti
  monotakd simulate varied --frames 40 --seed 8 --rate-hz 1          # frames 1 s apart: more different views
  monotakd simulate vga --frames 100 --seed 9 --width 640 --height 480 --focal-px 500

Ctrl-C keeps the frames written so far and exits with 130.
"""


def add_parser(subparsers: Any) -> None:
    """Register `simulate`."""
    parser = subparsers.add_parser(
        "simulate",
        help="drive through a simulated world; write a labelled bag or KITTI folder",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_writer_arguments(parser, "bag or folder to make")
    parser.add_argument("--frames", type=int, required=True, metavar="N", help="number of frames")
    parser.add_argument("--seed", type=int, required=True, metavar="S", help="decides everything random")
    parser.add_argument(
        "--jobs",
        type=positive_int,
        metavar="N",
        help="processes that render; the frames do not depend on it (default: cores)",
    )
    _add_drive_arguments(parser)
    parser.set_defaults(run=run)


def _add_drive_arguments(parser: argparse.ArgumentParser) -> None:
    default = DriveSettings()
    world = parser.add_argument_group("drive")
    world.add_argument("--rate-hz", type=float, default=default.rate_hz, metavar="F", help="frames a second (10)")
    camera = parser.add_argument_group("camera (default: KITTI's)")
    camera.add_argument("--width", type=int, default=default.width, metavar="PX", help=f"image width ({default.width})")
    camera.add_argument("--height", type=int, default=default.height, metavar="PX", help=f"height ({default.height})")
    camera.add_argument(
        "--focal-px", type=float, default=default.focal_px, metavar="PX", help="focal length (721.5377)"
    )
    camera.add_argument(
        "--center-px", type=float, nargs=2, metavar=("CX", "CY"), help="principal point (KITTI's, scaled to the image)"
    )
    camera.add_argument(
        "--camera-height-m", type=float, default=default.camera_height_m, metavar="M", help="above the road (1.65)"
    )
    camera.add_argument(
        "--mount-tilt-deg",
        type=float,
        default=default.mount_tilt_deg,
        metavar="DEG",
        help="spread of the mounting error, drawn once per drive (0.4)",
    )
    lidar = parser.add_argument_group("LiDAR")
    lidar.add_argument("--no-lidar", action="store_true", help="record the camera only")
    lidar.add_argument("--lidar-full-circle", action="store_true", help="scan 360 degrees, not just the camera's view")


def settings_from(args: argparse.Namespace) -> DriveSettings:
    """The drive that the command line asks for.

    Raises:
        ConfigError: a value out of range.
    """
    return DriveSettings(
        frames=args.frames,
        seed=args.seed,
        rate_hz=args.rate_hz,
        width=args.width,
        height=args.height,
        focal_px=args.focal_px,
        center_px=None if args.center_px is None else tuple(args.center_px),
        camera_height_m=args.camera_height_m,
        mount_tilt_deg=args.mount_tilt_deg,
        lidar=not args.no_lidar,
        lidar_full_circle=args.lidar_full_circle,
    )


def run(args: argparse.Namespace) -> int:
    """Simulate and write; returns the exit code.

    Raises:
        MonotakdError: a setting or the output is unusable; OUT is then as it was.
    """
    require_writable_encoding(args)
    settings = settings_from(args)
    writer = writer_from(args)
    try:
        _record(settings, writer, args.jobs or default_jobs(settings.frames))
    finally:
        if writer.count and args.out.exists():
            print(f"{args.out}: {writer.count} of {settings.frames} frames written")
    return 0


def _record(settings: DriveSettings, writer: FrameWriter, jobs: int) -> None:
    with (
        writer,
        closing(rendered_frames(settings, jobs)) as frames,
        tqdm(total=settings.frames, desc="simulate", unit="frame", disable=None) as progress,
    ):
        for frame in frames:
            writer.write(frame)
            progress.update()
