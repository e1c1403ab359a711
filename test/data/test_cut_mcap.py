"""Bags that were cut off are read up to where they end: the first messages of the whole, and no others."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2.reader import zstd

from monotakd_ros.data.bag_reader import BagReader
from monotakd_ros.data.bag_writer import BagFile
from monotakd_ros.data.cut_mcap import MAGIC
from monotakd_ros.data.message_types import bag_message_types, bag_typestore
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import BagError

BUILDER = MessageBuilder(bag_message_types())
TOPICS = {"/points", "/text"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A bag of several chunks."""
    folder = tmp_path_factory.mktemp("cut") / "drive"
    bag = BagFile(folder)
    random = np.random.default_rng(0)
    for index in range(60):
        cloud = BUILDER.point_cloud(random.normal(size=(8000, 4)), index, "lidar")
        bag.write("/points", cloud, 100 + index)
        if index >= 30:  # a channel that comes late lies in a later chunk
            bag.write("/text", BUILDER.string(str(index)), 100 + index)
    bag.close()
    return folder / "drive.mcap"


def read(path: Path, **span: int) -> list[tuple[str, int, bytes]]:
    reader = BagReader(path, strict=False)
    messages = [(message.topic, message.log_stamp_ns, message.data) for message in reader.messages(TOPICS, **span)]
    assert len(messages) == sum(topic.count for topic in reader.topics) or span
    reader.close()
    return messages


@pytest.mark.parametrize("share", [0.2, 0.5, 0.77, 0.97, 0.999])
def test_a_cut_file_gives_the_first_messages(whole, tmp_path, share):
    data = whole.read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(data[: int(len(data) * share)])
    expected, got = read(whole), read(path)
    assert got == expected[: len(got)]
    clouds = sum(topic == "/points" for topic, _, _ in got)
    assert clouds > 60 * share - 10  # a chunk holds nine
    with pytest.raises(BagError, match="mcap recover"):
        BagReader(path)


def test_it_says_where_the_file_ends_and_seeks_by_time(whole, tmp_path):
    data = whole.read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(data[: len(data) // 2])
    reader = BagReader(path, strict=False)
    assert reader.cuts[0].startswith("cut.mcap: cut off; readable are ")
    assert reader.span_ns == (100, 1 + max(stamp for _, stamp, _ in read(path)))
    assert {stamp for _, stamp, _ in read(path, start_ns=105, stop_ns=108)} == {105, 106, 107}


def test_a_folder_with_a_cut_file(whole, tmp_path):
    """The metadata of an earlier recording in that folder counts for nothing then."""
    data = whole.read_bytes()
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information:\n  version: 8\n")
    (tmp_path / "a_0.mcap").write_bytes(data)
    (tmp_path / "a_1.mcap").write_bytes(data[: len(data) // 2])
    reader = BagReader(tmp_path, strict=False)
    assert len(reader.cuts) == 1
    assert "a_1.mcap" in reader.cuts[0]


def test_a_cut_file_that_was_compressed_as_a_whole(whole, tmp_path):
    packed = zstd.compress(whole.read_bytes())
    path = tmp_path / "cut.mcap.zstd"
    path.write_bytes(packed[: len(packed) // 2])
    reader = BagReader(path, strict=False)
    assert reader.cuts[0].startswith("cut.mcap.zstd: cut off; readable are ")
    assert 15 < sum(topic.count for topic in reader.topics) < 60
    with pytest.raises(BagError, match=r"cut\.mcap\.zstd: cannot open"):
        BagReader(path)


def test_a_cut_file_without_chunks(tmp_path):
    store = bag_typestore()
    schema = struct.pack("<H", 1)
    definition = "string data\n"
    for text in ("std_msgs/msg/String", "ros2msg", definition):
        schema += struct.pack("<I", len(text)) + text.encode()
    channel = struct.pack("<HH", 7, 1) + struct.pack("<I", 5) + b"/text" + struct.pack("<I", 3) + b"cdr"
    records = [(1, struct.pack("<I", 4) + b"ros2" + struct.pack("<I", 0)), (3, schema)]
    records.append((4, channel + struct.pack("<I", 0)))
    for stamp in range(5):
        message = bytes(store.serialize_cdr(BUILDER.string("x"), "std_msgs/msg/String"))
        records.append((5, struct.pack("<HIQQ", 7, 0, stamp, stamp) + message))
    data = MAGIC + b"".join(struct.pack("<BQ", kind, len(body)) + body for kind, body in records)
    path = tmp_path / "cut.mcap"
    path.write_bytes(data[:-3])
    assert [stamp for _, stamp, _ in read(path)] == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [0, 3, 8, 20])
def test_nothing_of_it_is_left(whole, tmp_path, size):
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole.read_bytes()[:size])
    with pytest.raises(BagError, match=r"cut\.mcap: cannot open"):
        BagReader(path, strict=False)


def test_topics_of_other_types_are_listed_and_read_as_bytes(tmp_path):
    bag = BagFile(tmp_path / "bag")
    bag.write("/imu", BUILDER.make("sensor_msgs/msg/Imu"), 5)
    bag.write("/fix", BUILDER.make("sensor_msgs/msg/NavSatFix"), 6)
    bag.write("/pose", BUILDER.make("geometry_msgs/msg/Pose"), 7)
    bag.close()
    reader = BagReader(tmp_path / "bag", strict=False)
    assert reader.topics == []
    assert [topic.name for topic in reader.other_topics] == ["/fix", "/imu", "/pose"]
    assert reader.topics_with_header == {"/fix", "/imu"}
    assert [message.log_stamp_ns for message in reader.messages({"/imu", "/pose"})] == [5, 7]
    with pytest.raises(BagError, match="holds no messages"):
        BagReader(tmp_path / "bag")
