"""KITTI AP of a checkpoint over several sources together: `python benchmarks/average_precision.py CKPT SOURCE…`.

`monotakd replay` scores one source; a figure worth quoting needs more drives than one.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from monotakd_ros.data.source import open_source
from monotakd_ros.detector import Detector
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, kitti_ap_from_frames

COLUMNS = (("strict", "3d"), ("strict", "bev"), ("loose", "3d"), ("loose", "bev"))


def main() -> None:
    """Detect, score, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    detector = Detector.from_checkpoint(args.checkpoint, args.device)
    labels, detections, cameras = [], [], []
    for path in args.sources:
        with closing(open_source(path)) as source:
            frames = tqdm(source.frames(), total=len(source), desc=path.name, leave=False, file=sys.stderr)
            for frame in frames:
                found = detector.detect(frame)
                labels.append(frame.labels)
                detections.append(found)
                cameras.append(frame.camera)
    result = kitti_ap_from_frames(labels, detections, cameras)
    print(f"{len(labels)} frames of {len(args.sources)} sources; AP R40, %, easy / moderate / hard\n")
    print("| class (counted, moderate) | " + " | ".join(f"{metric} {overlap}" for overlap, metric in COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    for name in KITTI_CLASSES:
        cells = [result[overlap][name][metric] for overlap, metric in COLUMNS]
        values = [" / ".join(f"{value or 0.0:.1f}" for value in cell["R40"]) for cell in cells]
        print(f"| {name} ({cells[0]['n_gt'][1]}) | " + " | ".join(values) + " |")


if __name__ == "__main__":
    main()
