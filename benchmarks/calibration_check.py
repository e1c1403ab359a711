"""What the calibration check of `monotakd inspect` finds of errors that were planted into a real recording.

For each error the bag is written anew: tf_static with the LiDAR-to-camera rotation turned about one of the camera's
axes, or the stamps of all clouds moved. The check is then run as by `monotakd inspect`. A turn of +1 degree is found
when the check says -1 degree, since it gives the turn that would agree better.

    python benchmarks/calibration_check.py BAG...
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from monotakd_ros.data.bag_reader import COMPRESSED_IMAGE, IMAGE, POINT_CLOUD, TRANSFORMS, BagReader
from monotakd_ros.data.bag_writer import BagFile
from monotakd_ros.data.from_msg import transforms_from_msg
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.geometry.transforms import make_transform
from monotakd_ros.inspection.alignment import rotation_of
from monotakd_ros.inspection.findings import corrections
from monotakd_ros.inspection.inspection import inspect_bag

TURNS_DEG = (-2.0, -1.0, -0.5, -0.3, 0.3, 0.5, 1.0, 2.0)
LATE_MS = (-200, -100, -50, 50, 100, 200)


def plant(bag: Path, out: Path, degrees_xyz: Iterable[float] = (0.0, 0.0, 0.0), late_ms: float = 0.0) -> Path:
    """Write a bag with wrong calibration or cloud stamps.

    Args:
        bag: with its camera as a leaf of tf_static.
        out: folder to make.
        degrees_xyz: the LiDAR is turned by this about the axes of the camera.
        late_ms: added to the clouds' header stamps; their bag times stay.
    """
    reader = BagReader(bag)
    build = MessageBuilder(bag_message_types())
    camera = _camera_frame(reader)
    writer = BagFile(out)
    for message in reader.messages({topic.name for topic in reader.topics}):
        value = message.decode()
        if message.type_name in TRANSFORMS and message.topic.endswith("_static"):
            for edge in transforms_from_msg(value):
                pose = edge.parent_T_child
                if edge.child == camera:  # parent_T_cam: the turned camera sees the LiDAR turned the other way
                    pose = pose @ np.linalg.inv(make_transform(rotation_of(list(degrees_xyz)), np.zeros(3)))
                moved = build.transform(pose, edge.parent, edge.child, edge.stamp_ns)
                writer.write(message.topic, moved, message.log_stamp_ns, latched=True)
            continue
        if message.type_name == POINT_CLOUD:
            stamp = value.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec + round(late_ms * 1e6)
            value.header.stamp = build.time(stamp_ns)
        writer.write(message.topic, value, message.log_stamp_ns)
    writer.close()
    reader.close()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bags", type=Path, nargs="+")
    parser.add_argument("--quick", action="store_true", help="one degree and 100 ms only")
    args = parser.parse_args()
    turns = (-1.0, 1.0) if args.quick else TURNS_DEG
    planted = [((0.0, 0.0, 0.0), 0.0)]
    planted += [(tuple(turn * (axis == i) for i in range(3)), 0.0) for axis in range(3) for turn in turns]
    planted += [((0.0, 0.0, 0.0), late) for late in ((-100, 100) if args.quick else LATE_MS)]
    for bag in args.bags:
        columns = f"{'found about x':>22}{'about y':>22}{'about z':>22}{'clouds after, ms':>20}   verdict"
        print(f"\n{bag.name}\n{'planted':<28}{columns}")
        for degrees, late in planted:
            _row(bag, degrees, late)


def _row(bag: Path, degrees: tuple[float, float, float], late_ms: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        changed = plant(bag, Path(folder) / bag.name, degrees, late_ms)
        start = time.perf_counter()
        report = inspect_bag(changed).alignment
        took = time.perf_counter() - start
    name = ", ".join(f"{turn:+g} deg about {axis}" for turn, axis in zip(degrees, "xyz") if turn)
    name = name or (f"clouds {late_ms:+g} ms" if late_ms else "nothing")
    cells = [
        f"{e.value:+.2f} [{e.low:+.2f}, {e.high:+.2f}]{'' if e.can_tell else '?'}" for e in report.rotation_deg.values()
    ]
    shift = report.shift_ms
    stamps = (
        f"{shift.value:+.0f} [{shift.low:+.0f}, {shift.high:+.0f}]{'' if shift.can_tell else '?'}" if shift else "-"
    )
    said = " and ".join(corrections(report)) or report.verdict
    print(
        f"{name:<28}" + "".join(f"{cell:>22}" for cell in cells) + f"{stamps:>20}   {said} ({took:.1f} s)", flush=True
    )


def _camera_frame(reader: BagReader) -> str:
    images = {topic.name for topic in reader.topics if topic.type_name in (IMAGE, COMPRESSED_IMAGE)}
    return next(reader.messages(images)).decode().header.frame_id.removeprefix("/")


if __name__ == "__main__":
    main()
