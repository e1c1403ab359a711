"""Heads are read from bytes as the decoder reads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from monotakd_ros.data.message_types import bag_message_types, bag_typestore
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.inspection.message_head import read_head

BUILDER = MessageBuilder(bag_message_types())
TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2", "nav_msgs/msg/Odometry")


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("little", [True, False])
@given(st.integers(0, 2**31 * 10**9 - 1), st.text("abc/_é雪", max_size=20))
def test_a_message_of_ros_2(kind, little, stamp_ns, name):
    message = BUILDER.make(kind, header=BUILDER.header(stamp_ns, name))
    data = bytes(bag_typestore().serialize_cdr(message, kind, little_endian=little))
    head = read_head(data, is_ros1=False)
    assert (head.stamp_ns, head.frame_id) == (stamp_ns, name)
    assert head.size == 16 + len(name.encode()) + 1


def test_a_message_of_ros_1():
    store = get_typestore(Stores.ROS1_NOETIC)
    stamp = store.types["builtin_interfaces/msg/Time"](12, 34)
    header = store.types["std_msgs/msg/Header"](7, stamp, "velodyne")
    message = store.types["sensor_msgs/msg/CompressedImage"](header, "jpeg", np.zeros(3, np.uint8))
    data = bytes(store.serialize_ros1(message, "sensor_msgs/msg/CompressedImage"))
    assert read_head(data, is_ros1=True) == (12 * 10**9 + 34, "velodyne", 24)


@given(st.binary(max_size=60))
def test_garbage_gives_none_or_a_head_within_it(data):
    head = read_head(data, is_ros1=False)
    assert head is None or head.size <= len(data)


def test_bytes_that_end_too_soon():
    kind = "sensor_msgs/msg/Image"
    data = bytes(bag_typestore().serialize_cdr(BUILDER.make(kind, header=BUILDER.header(1, "camera")), kind))
    assert read_head(data[:20], is_ros1=False) is None
    assert read_head(b"", is_ros1=False) is None
