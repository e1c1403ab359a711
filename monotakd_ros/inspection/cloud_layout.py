"""What a PointCloud2 holds besides its numbers: fields and types, order, missing points, times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FIELD_TYPES = {1: "int8", 2: "uint8", 3: "int16", 4: "uint16", 5: "int32", 6: "uint32", 7: "float32", 8: "float64"}
"""sensor_msgs/PointField.datatype."""
TIME_NAMES = ("t", "time", "timestamp", "time_stamp", "stamp", "offset_time", "time_offset", "ts")
RING_NAMES = ("ring", "channel", "line", "laser_id")
INTENSITY_NAMES = ("intensity", "i", "intensities", "reflectivity")


@dataclass(frozen=True)
class CloudLayout:
    """One cloud, or several that are laid out alike.

    Attributes:
        fields: name and type, e.g. ("x", "float32").
        is_organised: several rows.
        is_big_endian: byte order.
        intensity, time, ring: names of these fields; None where there is none.
        points: median number a cloud, missing ones included.
        missing_share: of points without finite coordinates.
        range_m: median and 99th percentile of the distance; None without points.
    """

    fields: tuple[tuple[str, str], ...]
    is_organised: bool
    is_big_endian: bool
    intensity: str | None
    time: str | None
    ring: str | None
    points: int
    missing_share: float
    range_m: tuple[float, float] | None


def cloud_layout(message: Any, points: np.ndarray) -> CloudLayout:
    """Describe one PointCloud2 and its finite points (N, 3)."""
    names = [field.name for field in message.fields]
    number = int(message.width) * int(message.height)
    ranges = np.linalg.norm(points, axis=1)
    return CloudLayout(
        fields=tuple((field.name, _type_name(field)) for field in message.fields),
        is_organised=int(message.height) > 1,
        is_big_endian=bool(message.is_bigendian),
        intensity=_first(names, INTENSITY_NAMES),
        time=_first(names, TIME_NAMES),
        ring=_first(names, RING_NAMES),
        points=number,
        missing_share=1.0 - len(points) / number if number else 0.0,
        range_m=(float(np.median(ranges)), float(np.percentile(ranges, 99))) if len(ranges) else None,
    )


def merged(layouts: list[CloudLayout]) -> CloudLayout | None:
    """The first cloud's layout with the numbers of all; None without clouds."""
    if not layouts:
        return None
    ranges = [layout.range_m for layout in layouts if layout.range_m is not None]
    return CloudLayout(
        **{
            **vars(layouts[0]),
            "points": int(np.median([layout.points for layout in layouts])),
            "missing_share": float(np.mean([layout.missing_share for layout in layouts])),
            "range_m": tuple(float(value) for value in np.median(ranges, axis=0)) if ranges else None,
        }
    )


def _type_name(field: Any) -> str:
    name = FIELD_TYPES.get(int(field.datatype), f"type {field.datatype}")
    return name if int(field.count) <= 1 else f"{name}[{field.count}]"


def _first(names: list[str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)
