"""sqlite3 bags that were cut off, or whose recorder was killed, give the messages before the cut, and no others."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.reader import zstd

from monotakd_ros.data.bag_reader import BagReader
from monotakd_ros.data.cut_db3 import CutDb3
from monotakd_ros.data.message_types import bag_message_types, bag_typestore
from monotakd_ros.data.sqlite_pages import DatabasePages
from monotakd_ros.data.sqlite_wal import log_of
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.errors import BagError

BUILDER = MessageBuilder(bag_message_types())
STORE = bag_typestore()
TOPICS = {"/points", "/text"}
Content = list[tuple[str, int, bytes]]


def content(count: int, clouds: int) -> Content:
    """Texts, and as many clouds of three pages among them; their stamps come out of order now and then."""
    random = np.random.default_rng(0)
    messages: Content = []
    for index in range(count):
        if index % (count // clouds) == 0:
            cloud = BUILDER.point_cloud(random.normal(size=(700, 4)), index, "lidar")
            messages.append(("/points", 100 + index, bytes(STORE.serialize_cdr(cloud, cloud.__msgtype__))))
        text = BUILDER.string(str(index) * (1 + index % 50))
        stamp = 100 + index - 3 * (index % 40 == 7)
        messages.append(("/text", stamp, bytes(STORE.serialize_cdr(text, text.__msgtype__))))
    return messages


MESSAGES = content(2000, 100)
TEXT = bytes(STORE.serialize_cdr(BUILDER.string("text"), "std_msgs/msg/String"))


def write_bag(folder: Path, messages: Content) -> Path:
    types = {"/points": "sensor_msgs/msg/PointCloud2", "/text": "std_msgs/msg/String"}
    with Writer(folder, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = {name: writer.add_connection(name, kind, typestore=STORE) for name, kind in types.items()}
        for topic, stamp, data in messages:
            writer.write(topics[topic], stamp, data)
    return folder / f"{folder.name}.db3"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Some hundred pages."""
    return write_bag(tmp_path_factory.mktemp("db3") / "drive", MESSAGES)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_bag(tmp_path_factory.mktemp("db3") / "small", MESSAGES[:400])


def read(path: Path, strict: bool = False, **span: int) -> Content:
    reader = BagReader(path, strict)
    messages = [(message.topic, message.log_stamp_ns, message.data) for message in reader.messages(TOPICS, **span)]
    assert len(messages) == sum(topic.count for topic in reader.topics) or span
    assert bool(reader.cuts) != strict
    reader.close()
    return messages


def read_alone(path: Path) -> Content:
    """What `CutDb3` gives of a file, whether it was cut or not."""
    with CutDb3(path) as reader:
        messages = reader.messages(reader.connections)
        return [(connection.topic, stamp, data) for connection, stamp, data in messages]


def beginning(count: int) -> Content:
    """The first messages that were written, in the order of their stamps."""
    return sorted(MESSAGES[:count], key=lambda message: message[1])


def cut(bag: Path, path: Path, share: float) -> Path:
    data = bag.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8125, 0.999])
def test_a_cut_file_gives_the_first_messages(whole, tmp_path, share):
    path = cut(whole, tmp_path / "cut.db3", share)
    before = path.read_bytes()
    got = read(path)
    assert got == beginning(len(got))
    assert len(got) > len(MESSAGES) * (share - 0.08)  # type definitions, and the page that was cut
    with pytest.raises(BagError, match=r"`monotakd inspect` and `generate` read it .*`sqlite3 FILE \.recover`"):
        BagReader(path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["cut.db3"]


@settings(max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True))
def test_wherever_it_is_cut(whole, tmp_path_factory, share):
    path = cut(whole, tmp_path_factory.getbasetemp() / "anywhere.db3", share)
    try:
        got = read_alone(path)
    except ValueError as error:
        assert "ends before its first" in str(error) or "lacks the tables" in str(error)
        assert share < 0.08
    else:
        assert got == beginning(len(got))
        assert len(got) > len(MESSAGES) * (share - 0.08)


@settings(max_examples=60)
@given(place=st.integers(0, 90 * 4096), damage=st.binary(min_size=1, max_size=60))
def test_damaged_bytes_give_a_message_or_an_error_in_finite_time(small, tmp_path_factory, place, damage):
    data = bytearray(small.read_bytes())
    data[place : place + len(damage)] = damage
    path = tmp_path_factory.getbasetemp() / "damaged.db3"
    path.write_bytes(data)
    try:
        got = read_alone(path)
    except (ValueError, IndexError, TypeError, OSError):  # `BagReader` makes all of them a BagError
        return
    assert len(got) <= 400


def test_nothing_of_a_cut_file_is_left(whole, tmp_path):
    for share in (0.0, 0.001, 0.02):
        with pytest.raises(BagError, match=r"cut\.db3: cannot open"):
            BagReader(cut(whole, tmp_path / "cut.db3", share), strict=False)


def test_rows_are_found_where_the_tree_that_leads_to_them_is_lost(tmp_path):
    """Pages of a middle level are written long after those to which they lead."""
    messages = [("/text", index, TEXT) for index in range(9000)]
    small_pages = tmp_path / "small_pages.db3"
    with (
        closing(sqlite3.connect(write_bag(tmp_path / "drive", messages))) as source,
        closing(sqlite3.connect(small_pages)) as target,
    ):
        target.execute("PRAGMA page_size = 512")
        for (statement,) in source.execute("SELECT sql FROM sqlite_master ORDER BY rootpage"):
            target.execute(statement)
        for table in ("topics", "message_definitions", "messages"):
            rows = source.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
            target.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        target.commit()
    assert read_alone(small_pages) == messages
    path = cut(small_pages, tmp_path / "cut.db3", 0.5)
    got = read_alone(path)
    assert got == messages[: len(got)]
    with DatabasePages(path, log_of(path)) as pages:
        (root,) = (row[3] for _, row in pages.rows(1) if row[1] == "messages")
        reached = sum(1 for _ in pages.rows(root))
    assert len(got) > reached + 100


def test_it_says_where_the_file_ends_and_seeks_by_time(whole, tmp_path):
    path = cut(whole, tmp_path / "cut.db3", 0.5)
    reader = BagReader(path, strict=False)
    count = len(read(path))
    pages = whole.stat().st_size // 4096
    there = f"{pages // 2} of its {pages} pages are there"
    assert reader.cuts == [f"cut.db3: cut off: {there}; readable are {count} messages"]
    assert reader.span_ns == (100, 1 + max(stamp for _, stamp, _ in read(path)))
    assert {stamp for _, stamp, _ in read(path, start_ns=105, stop_ns=107)} == {105, 106}
    cloud = next(iter(reader.messages({"/points"}))).decode()
    assert (cloud.header.frame_id, cloud.width) == ("lidar", 700)


class TestKilledRecorders:
    """Files as they lie on the disk while the recorder is still at work."""

    @staticmethod
    def left(journal: str, whole: Path, folder: Path) -> Path:
        """Half of the messages are committed; of the others is written what did not fit into a small cache.

        In a write-ahead log, these are not told from what is left of earlier times before they are committed.
        """
        with closing(sqlite3.connect(whole)) as source:
            rows = source.execute("SELECT * FROM messages ORDER BY id").fetchall()
        middle = len(rows) // 2
        with closing(sqlite3.connect(write_bag(folder / "working", []))) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("PRAGMA cache_size = 10")
            connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows[:middle])
            connection.commit()
            connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows[middle:])
            files = shutil.ignore_patterns("*-shm", "metadata.yaml")
            shutil.copytree(folder / "working", folder / "left", ignore=files)
        return folder / "left" / "working.db3"

    @pytest.mark.parametrize(("journal", "share"), [("WAL", 0.5), ("DELETE", 0.9), ("MEMORY", 0.9)])
    def test_what_reached_the_disk_is_read(self, whole, tmp_path, journal, share):
        path = self.left(journal, whole, tmp_path)
        before = {item.name: item.read_bytes() for item in path.parent.iterdir()}
        assert len(before) == (1 if journal == "MEMORY" else 2)
        got = read(path)
        assert got == beginning(len(got))
        assert len(got) >= share * len(MESSAGES)
        assert {item.name: item.read_bytes() for item in path.parent.iterdir()} == before
        for target in (path, path.parent):
            with pytest.raises(BagError, match=r"working\.db3 was not closed by its recorder"):
                BagReader(target)

    def test_a_log_counts_as_far_as_it_is_whole(self, whole, tmp_path):
        path = self.left("WAL", whole, tmp_path)
        log = path.with_name("working.db3-wal")
        data = bytearray(log.read_bytes())
        data[len(data) // 4] ^= 1
        log.write_bytes(data)
        got = read(path)
        assert got == beginning(len(got))
        assert 0.15 < len(got) / len(MESSAGES) < 0.4


class TestFolders:
    """Split bags, and those that rosbag2 compresses."""

    def test_the_last_file_is_cut_and_there_is_no_metadata(self, whole, tmp_path):
        shutil.copy(whole, tmp_path / "drive_0.db3")
        cut(whole, tmp_path / "drive_1.db3", 0.5)
        (tmp_path / "drive_2.db3").touch()
        reader = BagReader(tmp_path, strict=False)
        assert [text.split(": ")[0].split("/")[-1] for text in reader.cuts] == ["drive_1.db3", "drive_2.db3"]
        assert sum(topic.count for topic in reader.topics) > 1.4 * len(MESSAGES)
        with pytest.raises(BagError, match=r"drive_1\.db3"):
            BagReader(tmp_path)

    def test_a_file_is_lost(self, whole, tmp_path):
        shutil.copytree(whole.parent, tmp_path / "drive")
        metadata = tmp_path / "drive" / "metadata.yaml"
        metadata.write_text(metadata.read_text().replace("  - drive.db3", "  - drive.db3\n  - drive_1.db3"))
        reader = BagReader(tmp_path / "drive", strict=False)
        assert "drive_1.db3" in reader.cuts[0]
        assert sum(topic.count for topic in reader.topics) == len(MESSAGES)

    def test_files_compressed_as_a_whole(self, whole, tmp_path):
        data = whole.read_bytes()
        (tmp_path / "drive_0.db3.zstd").write_bytes(zstd.compress(data))
        assert read(tmp_path, strict=True) == beginning(len(MESSAGES))
        (tmp_path / "drive_1.db3.zstd").write_bytes(zstd.compress(data)[: len(data) // 4])
        (tmp_path / "drive_2.db3.zstd").write_bytes(zstd.compress(data)[:1000])
        cut(whole, tmp_path / "drive_2.db3", 0.5)  # killed while it was compressed
        reader = BagReader(tmp_path, strict=False)
        assert [text.split(": ")[0] for text in reader.cuts] == ["drive_1.db3.zstd", "drive_2.db3"]
        with pytest.raises(BagError, match=r"drive_1\.db3\.zstd: cannot open"):
            BagReader(tmp_path)

    def test_messages_compressed_one_by_one(self, tmp_path):
        """Without its metadata, and cut, which counts for more than what the metadata says."""
        folder = tmp_path / "drive"
        bag = write_bag(folder, [(topic, stamp, zstd.compress(data)) for topic, stamp, data in MESSAGES[:400]])
        metadata = folder / "metadata.yaml"
        text = metadata.read_text().replace("compression_format: ''", "compression_format: zstd")
        metadata.unlink()
        assert read(folder, strict=True) == beginning(400)
        metadata.write_text(text.replace("compression_mode: ''", "compression_mode: MESSAGE"))
        assert "MESSAGE" in metadata.read_text()
        assert read(folder, strict=True) == beginning(400)
        cut(bag, bag, 0.7)
        got = read(folder)
        assert got == beginning(len(got))
        assert len(got) > 200
