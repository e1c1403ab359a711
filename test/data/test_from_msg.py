"""Readers take any object with a message's attributes: here plain ones."""

from __future__ import annotations

import re
from types import SimpleNamespace as Message

import numpy as np
import pytest

from monotakd_ros.data.from_msg import (
    camera_info_from_msg,
    image_from_msg,
    labels_from_msg,
    points_from_msg,
    stamp_ns_from_msg,
    transforms_from_msg,
)
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.geometry.transforms import make_transform, quaternion_from_rotation, rotation_about_z


def vector(x, y, z):
    return Message(x=x, y=y, z=z)


def orientation(rotation):
    x, y, z, w = quaternion_from_rotation(rotation)
    return Message(x=x, y=y, z=z, w=w)


def cloud(layout, rows, height=1, row_step=0, big_endian=False):
    """A PointCloud2 of structured rows; `layout` maps field names to (offset, PointField datatype)."""
    fields = [Message(name=name, offset=at, datatype=kind, count=1) for name, (at, kind) in layout.items()]
    return Message(
        fields=fields,
        height=height,
        width=len(rows) // height,
        point_step=rows.dtype.itemsize,
        row_step=row_step,
        is_bigendian=big_endian,
        data=np.frombuffer(rows.tobytes(), np.uint8),
    )


XYZ = {"x": (0, 7), "y": (4, 7), "z": (8, 7)}


def test_stamp():
    assert stamp_ns_from_msg(Message(sec=3, nanosec=7)) == 3_000_000_007


def test_raw_image():
    message = Message(height=1, width=2, encoding="bgr8", is_bigendian=0, step=6, data=bytes([1, 2, 3, 4, 5, 6]))
    np.testing.assert_array_equal(image_from_msg(message, "x"), [[[3, 2, 1], [6, 5, 4]]])


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_camera_info_of_ros_2_and_ros_1(spelling):
    matrices = {"k": list(range(9)), "d": [], "r": np.eye(3).ravel(), "p": list(range(12))}
    message = Message(
        width=6,
        height=4,
        distortion_model="plumb_bob",
        binning_x=0,
        binning_y=2,
        roi=Message(x_offset=1, y_offset=2, width=3, height=4),
        **{spelling(name): values for name, values in matrices.items()},
    )
    info = camera_info_from_msg(message)
    assert info.binning == (1, 2)
    assert info.roi == (1, 2, 3, 4)
    assert not info.has_distortion
    np.testing.assert_array_equal(info.P[0], [0, 1, 2, 3])


@pytest.mark.parametrize("order", ["<", ">"])
def test_cloud_with_extra_fields_and_byte_order(order):
    dtype = np.dtype(
        [("t", f"{order}f8"), ("x", f"{order}f4"), ("y", f"{order}f4"), ("z", f"{order}f4"), ("i", f"{order}u2")]
    )
    rows = np.array([(9.0, 1, 2, 3, 40), (9.0, 4, 5, np.nan, 50), (9.0, 7, 8, 9, 60)], dtype)
    layout = {"t": (0, 8), "x": (8, 7), "y": (12, 7), "z": (16, 7), "intensity": (20, 4)}
    points = points_from_msg(cloud(layout, rows, big_endian=order == ">"), "x")
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, [[1, 2, 3, 40], [7, 8, 9, 60]])


def test_organized_cloud_with_padded_rows():
    rows = np.arange(12, dtype="<f4").reshape(4, 3)
    padded = b"".join(rows[start : start + 2].tobytes() + b"pad!" for start in (0, 2))
    message = cloud(XYZ, rows.view([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])[:, 0], height=2, row_step=28)
    message.data = padded
    points = points_from_msg(message, "x")
    np.testing.assert_array_equal(points[:, :3], rows)
    np.testing.assert_array_equal(points[:, 3], 0)


def test_empty_cloud():
    empty = np.zeros(0, [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    assert points_from_msg(cloud(XYZ, empty), "x").shape == (0, 4)


def test_damaged_clouds():
    rows = np.zeros(4, [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    truncated = cloud(XYZ, rows)
    truncated.data = truncated.data[:-1]
    for message, text in (
        (truncated, "expected 48 bytes for 4 x 1 points"),
        (cloud({"x": (0, 7), "y": (4, 7)}, rows), "expected a cloud with fields x, y, z"),
        (cloud({**XYZ, "z": (10, 7)}, rows), "outside a point"),
        (cloud({**XYZ, "z": (8, 99)}, rows), "unknown datatype 99"),
    ):
        with pytest.raises(FrameError, match=text):
            points_from_msg(message, "/points, stamp 1 ns")


def transform_message(rotation):
    moved = Message(translation=vector(1, 2, 3), rotation=rotation)
    header = Message(frame_id="base", stamp=Message(sec=0, nanosec=5))
    return Message(transforms=[Message(header=header, child_frame_id="lidar", transform=moved)])


def test_transforms():
    (edge,) = transforms_from_msg(transform_message(orientation(rotation_about_z(0.5))))
    assert (edge.parent, edge.child, edge.stamp_ns) == ("base", "lidar", 5)
    np.testing.assert_allclose(edge.parent_T_child, make_transform(rotation_about_z(0.5), [1, 2, 3]), atol=1e-12)


def test_zero_quaternion_names_the_frames():
    with pytest.raises(CalibrationError, match="tf from 'base' to 'lidar'"):
        transforms_from_msg(transform_message(Message(x=0, y=0, z=0, w=0)))


def test_labels_are_carried_into_the_lidar_frame():
    pose = Message(position=vector(10, 0, -1), orientation=orientation(rotation_about_z(0.25)))
    hypotheses = [
        Message(hypothesis=Message(class_id=name, score=score)) for name, score in (("Van", 0.2), ("Car", 0.7))
    ]
    box = Message(results=hypotheses, bbox=Message(center=pose, size=vector(4, 1.6, 1.5)))
    nameless = Message(results=[], bbox=box.bbox)
    quarter_turn = make_transform(rotation_about_z(np.pi / 2), [0, 1, 0])
    labels = labels_from_msg(Message(detections=[box, nameless]), quarter_turn)
    assert labels.class_names == ("Car",)
    np.testing.assert_allclose(labels.boxes_lidar, [[0, 11, -1, 4, 1.6, 1.5, 0.25 + np.pi / 2]], atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"position": vector(np.nan, 0, -1)}, "expected finite position, orientation and size, got [nan,"),
        ({"size": vector(4, np.inf, 1.5)}, "expected finite position, orientation and size"),
        ({"size": vector(4, 0, 1.5)}, "expected length, width, height > 0, got [4.0, 0.0, 1.5]"),
        ({"orientation": Message(x=0, y=0, z=0, w=0)}, "expected a quaternion of non-zero length"),
        ({"orientation": Message(x=0, y=0, z=np.nan, w=1)}, "expected a quaternion of non-zero length"),
    ],
)
def test_a_label_that_is_no_box_makes_its_frame_unusable(changes, expected):
    right = {"position": vector(10, 0, -1), "size": vector(4, 1.6, 1.5), "orientation": orientation(np.eye(3))}

    def detection(position, size, orientation):
        pose = Message(position=position, orientation=orientation)
        hypothesis = Message(hypothesis=Message(class_id="Car", score=1.0))
        return Message(results=[hypothesis], bbox=Message(center=pose, size=size))

    with pytest.raises(FrameError, match="topic /truth, stamp 5 ns: detection 1 [(]Car[)]: " + re.escape(expected)):
        labels_from_msg(
            Message(detections=[detection(**right), detection(**right | changes)]),
            np.eye(4),
            "topic /truth, stamp 5 ns",
        )
