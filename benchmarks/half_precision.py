"""How far half precision moves the boxes of a checkpoint: `python benchmarks/half_precision.py CKPT SOURCE…`.

Every frame is detected in float32 and under autocast. A float32 box is found again when a half-precision box of its
class has its centre within 0.5 m; printed per minimum score: share found again, and of those the median and 95th
percentile of score, centre and heading differences.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from monotakd_ros.data.source import open_source
from monotakd_ros.detector import Detector
from monotakd_ros.frame import Detections3D

MIN_SCORES = (0.1, 0.3, 0.5)
NEAR_M = 0.5


def changes(full: Detections3D, half: Detections3D) -> Iterator[tuple[float, float, float, float]]:
    """Per float32 box: its score, then |score|, centre (m) and heading (degrees) difference; infinite if not found."""
    for box, score, label in zip(full.boxes_lidar, full.scores, full.labels):
        others = half.select(half.labels == label)
        distance = np.linalg.norm(others.boxes_lidar[:, :3] - box[:3], axis=1)
        if not len(distance) or distance.min() > NEAR_M:
            yield float(score), np.inf, np.inf, np.inf
            continue
        nearest = int(distance.argmin())
        turn = (others.boxes_lidar[nearest, 6] - box[6] + np.pi) % (2 * np.pi) - np.pi
        yield float(score), abs(others.scores[nearest] - score), distance[nearest], abs(np.degrees(turn))


def main() -> None:
    """Print one line per minimum score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", choices=("bf16", "fp16"), default="bf16")
    parser.add_argument("--frames", type=int, default=40, help="of each source")
    options = parser.parse_args()
    full = Detector.from_checkpoint(options.checkpoint, options.device)
    half = Detector.from_checkpoint(options.checkpoint, options.device, options.amp)
    if half.amp != options.amp:
        parser.error(f"this device has no {options.amp} to compare with")
    rows = []
    for path in options.sources:
        for frame in islice(open_source(path).frames(), options.frames):
            rows += changes(full.detect(frame), half.detect(frame))
    table = np.array(rows).reshape(-1, 4)
    for low in MIN_SCORES:
        chosen = table[table[:, 0] >= low]
        found = chosen[np.isfinite(chosen[:, 1])]
        if not len(found):
            continue
        middle, far = np.percentile(found[:, 1:], [50, 95], axis=0)
        print(
            f"score >= {low}: {len(chosen)} boxes, {len(found) / len(chosen):.1%} found again; median / 95th "
            f"percentile: score {middle[0]:.4f} / {far[0]:.4f}, centre {middle[1]:.3f} / {far[1]:.3f} m, "
            f"heading {middle[2]:.2f} / {far[2]:.2f} degrees"
        )


if __name__ == "__main__":
    main()
