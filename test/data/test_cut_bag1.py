"""ROS 1 bags that were cut off, or whose recorder was killed, give the whole messages before the cut, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_typestore

from monotakd_ros.data.bag_reader import BagReader
from monotakd_ros.data.cut_bag1 import CutBag1
from monotakd_ros.errors import BagError

STORE = get_typestore(Stores.ROS1_NOETIC)
CHUNK = 20_000
TOPICS = {"/image", "/text"}
COMPRESSIONS = {"none": None, "bz2": Writer.CompressionFormat.BZ2, "lz4": Writer.CompressionFormat.LZ4}
HEAD_SIZE = 13 + 4096


def write_bag(path: Path, compression: str) -> Path:
    """Chunks of 5 images; a second topic comes late, so that its connection lies in a later chunk."""
    Image, String = STORE.types["sensor_msgs/msg/Image"], STORE.types["std_msgs/msg/String"]
    Header, Time = STORE.types["std_msgs/msg/Header"], STORE.types["builtin_interfaces/msg/Time"]
    random = np.random.default_rng(0)
    writer = Writer(path)
    writer.chunk_threshold = CHUNK
    if COMPRESSIONS[compression] is not None:
        writer.set_compression(COMPRESSIONS[compression])
    with writer:
        images = writer.add_connection("/image", Image.__msgtype__, typestore=STORE)
        texts = None
        for index in range(42):
            pixels = random.integers(0, 255, 4000, dtype=np.uint8)
            header = Header(index, Time(100, index), "camera")
            image = Image(header, 10, 100, "bgra8", 0, 400, pixels)
            writer.write(images, 100 * 10**9 + index, STORE.serialize_ros1(image, Image.__msgtype__))
            if index >= 20:
                texts = texts or writer.add_connection("/text", String.__msgtype__, typestore=STORE)
                text = STORE.serialize_ros1(String(str(index)), String.__msgtype__)
                writer.write(texts, 100 * 10**9 + index, text)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bags")
    return {name: write_bag(folder / f"{name}.bag", name) for name in COMPRESSIONS}


def read(path: Path, strict: bool = False, **span: int) -> list[tuple[str, int, bytes]]:
    reader = BagReader(path, strict)
    messages = [(message.topic, message.log_stamp_ns, message.data) for message in reader.messages(TOPICS, **span)]
    assert len(messages) == sum(topic.count for topic in reader.topics) or span
    assert bool(reader.cuts) != strict
    reader.close()
    return messages


def cut(bag: Path, path: Path, size: int) -> Path:
    path.write_bytes(bag.read_bytes()[:size])
    return path


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("share", [0.3, 0.62, 0.97, 0.9999])
def test_a_cut_bag_gives_the_first_messages(whole, tmp_path, compression, share):
    bag = whole[compression]
    path = cut(bag, tmp_path / "cut.bag", int(bag.stat().st_size * share))
    expected, got = read(bag, strict=True), read(path)
    assert got == expected[: len(got)]
    images = sum(topic == "/image" for topic, _, _ in got)
    assert images >= int(42 * share) - (1 if compression == "none" else 5) - 1
    with pytest.raises(BagError, match=r"`monotakd inspect` and `generate` read it up to there, and `rosbag reindex`"):
        BagReader(path)


@settings(max_examples=50)
@given(place=st.integers(0, 210_000), compression=st.sampled_from(list(COMPRESSIONS)))
def test_wherever_it_is_cut(whole, tmp_path_factory, place, compression):
    bag = whole[compression]
    path = cut(bag, tmp_path_factory.getbasetemp() / "anywhere.bag", place)
    if place >= bag.stat().st_size:
        return
    try:
        got = read(path)
    except BagError as error:
        assert "anywhere.bag: cannot open the bag" in str(error)
        assert place < HEAD_SIZE + (CHUNK + 5000 if compression != "none" else 6000)
    else:
        assert got == read(bag, strict=True)[: len(got)]
        assert got


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_file_of_a_killed_recorder(whole, tmp_path, compression):
    """The header names no index, and the last chunk says that it is empty, as it does until it is closed."""
    bag = whole[compression]
    data = bytearray(bag.read_bytes())
    index_pos = data.index(b"index_pos=") + 10
    data[index_pos : index_pos + 8] = bytes(8)
    chunk = -1
    for _ in range(6):
        chunk = data.index(b"compression=", chunk + 1)
    sizes = data.index(b"size=", chunk) + 5  # of its content, and of that as stored
    data[sizes : sizes + 8] = bytes(8)
    path = tmp_path / "drive.bag.active"
    path.write_bytes(data[: sizes + 8 + 9000])
    got = read(path)
    assert got == read(bag, strict=True)[: len(got)]
    assert sum(topic == "/image" for topic, _, _ in got) == 25 + (2 if compression == "none" else 0)
    with pytest.raises(BagError, match="not indexed"):
        BagReader(path)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_nothing_that_it_reads_lies_behind_the_end_that_it_says(whole, tmp_path, compression):
    path = cut(whole[compression], tmp_path / "cut.bag", 100_000)
    expected, end = read(path), CutBag1(path).end
    assert read(cut(path, tmp_path / "shorter.bag", end)) == expected
    if compression == "none":
        assert read(cut(path, tmp_path / "shorter.bag", end - 1)) == expected[:-1]


def test_it_says_where_the_file_ends_and_seeks_by_time(whole, tmp_path):
    path = cut(whole["lz4"], tmp_path / "cut.bag", 100_000)
    reader = BagReader(path, strict=False)
    assert reader.cuts[0].startswith("cut.bag: cut off; readable are ")
    last = max(stamp for _, stamp, _ in read(path))
    assert reader.span_ns == (100 * 10**9, last + 1)
    spanned = read(path, start_ns=100 * 10**9 + 3, stop_ns=100 * 10**9 + 5)
    assert [stamp - 100 * 10**9 for _, stamp, _ in spanned] == [3, 4]
    assert next(iter(reader.messages({"/image"}))).decode().header.frame_id == "camera"


def test_split_files_of_which_the_last_was_cut(whole, tmp_path):
    (tmp_path / "drive_0.bag").write_bytes(whole["none"].read_bytes())
    cut(whole["bz2"], tmp_path / "drive_1.bag.active", 100_000)
    cut(whole["bz2"], tmp_path / "drive_2.bag.active", 100)
    reader = BagReader(tmp_path, strict=False)
    assert [text.split(":")[0].split("/")[-1] for text in reader.cuts] == ["drive_1.bag.active", "drive_2.bag.active"]
    assert {topic.name: topic.count > 42 for topic in reader.topics} == {"/image": True, "/text": False}
    with pytest.raises(BagError, match="drive_1"):
        BagReader(tmp_path)
