"""The options by which a command's SOURCE is read, the same for every verb that takes one."""

from __future__ import annotations

import argparse
from pathlib import Path

from monotakd_ros.data.source import SourceOptions

SOURCE_HELP = "a rosbag (folder or file), a KITTI folder, a KITTI raw drive or tar shards, told apart by what is in it"


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `SourceOptions`."""
    group = parser.add_argument_group("reading the source", "only needed where the data leave a choice")
    group.add_argument("--image-topic", help="bag topic of type Image or CompressedImage")
    group.add_argument("--camera-info-topic", help="bag topic of type CameraInfo")
    group.add_argument("--points-topic", help="bag topic of type PointCloud2, or none")
    group.add_argument("--ground-truth-topic", help="bag topic of type Detection3DArray, or none")
    group.add_argument(
        "--rectify",
        choices=("auto", "always", "never"),
        default="auto",
        help="undistort a bag's images (auto: when the camera has distortion and the topic is not named ...rect...)",
    )
    group.add_argument(
        "--label-dir",
        type=Path,
        metavar="DIR",
        help="KITTI label files by frame number (default: a bag's label_2)",
    )
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="KITTI calibration file whose Tr_velo_to_cam says where a bag's LiDAR is (default: tf)",
    )
    group.add_argument(
        "--odometry-topic",
        help="bag topic of type Odometry for the world pose (default: the only one, where nothing moves in tf)",
    )
    group.add_argument(
        "--compensate-motion",
        action="store_true",
        help="move a bag's clouds to where they would have been measured at the image's stamp (needs tf or odometry)",
    )
    group.add_argument("--split", help="only the frames of this list in a KITTI folder's ImageSets")


def source_options(args: argparse.Namespace) -> SourceOptions:
    """What `add_source_arguments` collected."""
    return SourceOptions(
        image_topic=args.image_topic,
        camera_info_topic=args.camera_info_topic,
        points_topic=args.points_topic,
        ground_truth_topic=args.ground_truth_topic,
        label_dir=args.label_dir,
        split=args.split,
        rectify=args.rectify,
        calibration=args.calibration,
        odometry_topic=args.odometry_topic,
        compensate_motion=args.compensate_motion,
    )
