"""ROS messages to numpy, by reading attributes only: rclpy's messages, those of `rosbags`, and plain objects alike.

Imports no ROS. ROS 1 spells CameraInfo's matrices K, D, R, P; both spellings are read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from monotakd_ros.data.camera_info import CameraInfo
from monotakd_ros.data.image_codec import decode_compressed, decode_raw
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.frame import Labels3D
from monotakd_ros.geometry.transforms import make_transform, rotation_from_quaternion

_POINT_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""sensor_msgs/PointField.datatype -> numpy."""
_INTENSITY_NAMES = ("intensity", "i", "intensities", "reflectivity")


class StampedTransform(NamedTuple):
    """One edge of tf: the pose (4, 4) of `child` in `parent`."""

    parent: str
    child: str
    parent_T_child: np.ndarray
    stamp_ns: int


def stamp_ns_from_msg(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def image_from_msg(message: Any, where: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a sensor_msgs Image or CompressedImage.

    Raises:
        FrameError: unknown encoding or damaged pixels; starts with `where`.
    """
    if hasattr(message, "format"):
        return decode_compressed(message.data, where, message.format)
    return decode_raw(
        message.data,
        message.encoding,
        int(message.height),
        int(message.width),
        int(message.step),
        bool(message.is_bigendian),
        where,
    )


def camera_info_from_msg(message: Any) -> CameraInfo:
    """A sensor_msgs/CameraInfo as numpy."""

    def numbers(name: str, *shape: int) -> np.ndarray:
        values = getattr(message, name, None)
        values = getattr(message, name.upper()) if values is None else values
        return np.asarray(values, dtype=np.float64).reshape(shape)

    roi = message.roi
    return CameraInfo(
        width=int(message.width),
        height=int(message.height),
        K=numbers("k", 3, 3),
        D=numbers("d", -1),
        R=numbers("r", 3, 3),
        P=numbers("p", 3, 4),
        distortion_model=str(message.distortion_model),
        binning=(max(int(message.binning_x), 1), max(int(message.binning_y), 1)),
        roi=(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
    )


def points_from_msg(message: Any, where: str) -> np.ndarray:
    """(N, 4) float32 x, y, z, intensity of a sensor_msgs/PointCloud2, without points that are not finite.

    Intensity is 0 where the cloud has none.

    Raises:
        FrameError: no x, y, z, or fewer bytes than the size asks for.
    """
    layout = {field.name: field for field in message.fields}
    names = [*"xyz", next((name for name in _INTENSITY_NAMES if name in layout), None)]
    missing = [name for name in "xyz" if name not in layout]
    if missing:
        raise FrameError(f"{where}: expected a cloud with fields x, y, z, found {list(layout)}")
    rows = _cloud_bytes(message, where)
    order = ">" if message.is_bigendian else "<"
    columns = [
        np.zeros(len(rows), dtype=np.float32) if name is None else _column(rows, layout[name], order, where)
        for name in names
    ]
    points = np.stack(columns, axis=1)
    return points[np.isfinite(points[:, :3]).all(axis=1)]


def transforms_from_msg(message: Any) -> list[StampedTransform]:
    """The transforms of a tf2_msgs/TFMessage.

    Raises:
        CalibrationError: a quaternion of length zero; names the frames.
    """
    return [transform_from_msg(item) for item in message.transforms]


def transform_from_msg(message: Any) -> StampedTransform:
    """A geometry_msgs/TransformStamped.

    Raises:
        CalibrationError: a quaternion of length zero; names the frames.
    """
    return _edge("tf", message, message.transform.rotation, message.transform.translation)


def odometry_from_msg(message: Any) -> StampedTransform:
    """A nav_msgs/Odometry as the edge of tf that it stands for.

    Raises:
        CalibrationError: a quaternion of length zero, or frames without a name.
    """
    parent, child, pose = message.header.frame_id, message.child_frame_id, message.pose.pose
    if not parent or not child:
        raise CalibrationError(f"odometry: expected frame_id and child_frame_id, got {parent!r} and {child!r}")
    return _edge("odometry", message, pose.orientation, pose.position)


def labels_from_msg(message: Any, lidar_T_frame: np.ndarray, where: str = "ground truth") -> Labels3D:
    """Ground truth from a vision_msgs/Detection3DArray.

    Args:
        message: the array; detections without a hypothesis are left out, the best one names the class.
        lidar_T_frame: (4, 4) from the array's frame into lidar. Of a box's orientation its heading is kept.
        where: topic and stamp, for messages.

    Raises:
        FrameError: a box with a position, orientation or size that is not finite, or a size <= 0: to leave it out
            would be to say that nothing is there.
    """
    names, boxes = [], []
    for number, detection in enumerate(message.detections):
        if not detection.results:
            continue
        best = max((result.hypothesis for result in detection.results), key=lambda hypothesis: hypothesis.score)
        names.append(str(best.class_id))
        boxes.append(_labelled_box(detection.bbox, lidar_T_frame, f"{where}: detection {number} ({names[-1]})"))
    count = len(names)
    return Labels3D(
        boxes_lidar=np.array(boxes, dtype=np.float64).reshape(-1, 7),
        class_names=tuple(names),
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1, dtype=np.int64),
        boxes_img_px=np.full((count, 4), np.nan),
    )


def _labelled_box(bbox: Any, lidar_T_frame: np.ndarray, where: str) -> list[float]:
    """x, y, z, length, width, height, heading in the lidar frame."""
    position, size = bbox.center.position, [bbox.size.x, bbox.size.y, bbox.size.z]
    try:
        rotation = rotation_from_quaternion(_xyzw(bbox.center.orientation))
    except CalibrationError as error:
        raise FrameError(f"{where}: {error}") from error
    lidar_T_box = lidar_T_frame @ make_transform(rotation, [position.x, position.y, position.z])
    box = [*lidar_T_box[:3, 3], *size, np.arctan2(lidar_T_box[1, 0], lidar_T_box[0, 0])]
    if not np.isfinite(box).all():
        raise FrameError(f"{where}: expected finite position, orientation and size, got {list(map(float, box))}")
    if min(size) <= 0:
        raise FrameError(f"{where}: expected length, width, height > 0, got {list(map(float, size))}")
    return box


def _edge(what: str, item: Any, quaternion: Any, position: Any) -> StampedTransform:
    """The edge of a message with `header` and `child_frame_id`."""
    parent, child = item.header.frame_id, item.child_frame_id
    try:
        rotation = rotation_from_quaternion(_xyzw(quaternion))
    except CalibrationError as error:
        raise CalibrationError(f"{what} from {parent!r} to {child!r}: {error}") from error
    pose = make_transform(rotation, [position.x, position.y, position.z])
    return StampedTransform(parent, child, pose, stamp_ns_from_msg(item.header.stamp))


def _xyzw(quaternion: Any) -> np.ndarray:
    return np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w], dtype=np.float64)


def _cloud_bytes(message: Any, where: str) -> np.ndarray:
    """(N, point_step) bytes, without row padding."""
    width, height, point_step = int(message.width), int(message.height), int(message.point_step)
    row_step = max(int(message.row_step), width * point_step)
    flat = np.frombuffer(message.data, dtype=np.uint8)
    if width * height == 0:
        return np.zeros((0, max(point_step, 1)), dtype=np.uint8)
    needed = row_step * (height - 1) + width * point_step
    if flat.size < needed or point_step == 0:
        raise FrameError(
            f"{where}: expected {needed} bytes for {width} x {height} points of {point_step} bytes, got {flat.size}"
        )
    rows = [flat[start : start + width * point_step] for start in range(0, row_step * height, row_step)]
    return np.concatenate(rows).reshape(-1, point_step)


def _column(rows: np.ndarray, field: Any, order: str, where: str) -> np.ndarray:
    kind = _POINT_TYPES.get(int(field.datatype))
    if kind is None:
        raise FrameError(f"{where}: field {field.name!r} has unknown datatype {field.datatype}")
    dtype = np.dtype(order + kind)
    if field.offset + dtype.itemsize > rows.shape[1]:
        raise FrameError(f"{where}: field {field.name!r} at byte {field.offset} lies outside a point ({rows.shape[1]})")
    column = np.ascontiguousarray(rows[:, field.offset : field.offset + dtype.itemsize])
    return column.view(dtype)[:, 0].astype(np.float32)
