"""Message classes for bags, made by the `rosbags` library: no ROS needed.

`MessageTypes` is what builders ask for classes: "sensor_msgs/msg/Image" -> something to call with fields by
keyword. rclpy's classes fit as they are; those of `rosbags` want every field, so they are wrapped here to start
from zeros.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

MessageTypes = Callable[[str], Callable[..., Any]]

VISION_MSGS = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": ("std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"),
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id\n"
    ),
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n",
}
"""Layout of vision_msgs 4 (Humble and later), which `rosbags` does not ship."""


@cache
def bag_typestore() -> Typestore:
    """The types of ROS 2 Jazzy and `vision_msgs`: for writing, and for bags that carry no definitions."""
    store = get_typestore(Stores.ROS2_JAZZY)
    definitions = {}
    for name, text in VISION_MSGS.items():
        definitions.update(get_types_from_msg(text, name))
    store.register(definitions)
    return store


def bag_message_types() -> MessageTypes:
    """Message classes for writing bags; fields that are not given are zero, empty or false."""
    store = bag_typestore()
    return lambda name: partial(_message_with_defaults, store, name)


def _message_with_defaults(store: Typestore, message: str, /, **fields: Any) -> Any:
    known = dict(store.fielddefs[message][1])
    unknown = set(fields) - set(known)
    assert not unknown, f"{message} has no fields {unknown}"
    values = {
        key: _as_array(fields[key]) if key in fields else _default(store, *description)
        for key, description in known.items()
    }
    return store.types[message](**values)


def _as_array(value: Any) -> Any:
    """rclpy takes `array.array` for number sequences, `rosbags` numpy."""
    return np.asarray(value) if isinstance(value, array.array) else value


def _default(store: Typestore, kind: Nodetype, detail: Any) -> Any:
    if kind == Nodetype.NAME:
        return _message_with_defaults(store, detail)
    if kind == Nodetype.BASE:
        return {"string": "", "bool": False, "float32": 0.0, "float64": 0.0}.get(detail[0], 0)
    (element_kind, element), length = detail
    if element_kind == Nodetype.BASE and element[0] != "string":
        return np.zeros(length if kind == Nodetype.ARRAY else 0, dtype=element[0])
    return [_default(store, element_kind, element) for _ in range(length if kind == Nodetype.ARRAY else 0)]
