"""The options of bootstrap intervals, the same for `evaluate` and `compare`."""

from __future__ import annotations

import argparse

from monotakd_ros.cli.argument_types import positive_int
from monotakd_ros.evaluation.bootstrap import Resampling


def add_resampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `Resampling`."""
    group = parser.add_argument_group("confidence intervals", "bootstrap over frames, 95 %")
    group.add_argument("--seed", type=int, default=0, help="of the random draws (default: 0)")
    group.add_argument(
        "--resamples", type=int, default=1000, metavar="N", help="number of draws; 0 makes no intervals (default: 1000)"
    )
    group.add_argument(
        "--block-frames",
        type=positive_int,
        default=1,
        metavar="N",
        help="draw runs of N consecutive frames: for drives, whose neighbouring frames are alike (default: 1)",
    )


def resampling_from(args: argparse.Namespace) -> Resampling:
    """What `add_resampling_arguments` collected."""
    return Resampling(args.seed, max(args.resamples, 0), args.block_frames)
