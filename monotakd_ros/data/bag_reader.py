"""Raw access to rosbag1 and rosbag2 files through `rosbags`, with clear errors. No ROS needed.

Only message types this package uses are decoded, so that a bag with exotic or broken definitions still opens.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from monotakd_ros.data.bag_files import open_storage, plain_message, repair_hint, storage_files, storage_paths
from monotakd_ros.data.message_types import bag_typestore
from monotakd_ros.errors import BagError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
DETECTIONS = "vision_msgs/msg/Detection3DArray"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
STRING = "std_msgs/msg/String"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
SENSOR_TYPES = (IMAGE, COMPRESSED_IMAGE, CAMERA_INFO, POINT_CLOUD)
KNOWN_TYPES = (*SENSOR_TYPES, DETECTIONS, LABEL_INFO, STRING, ODOMETRY, *TRANSFORMS)

_WITH_HEADER = (*SENSOR_TYPES, DETECTIONS, LABEL_INFO, ODOMETRY)
_SEPARATOR = "=" * 80 + "\n"


class BagTopic(NamedTuple):
    """A topic of a bag and the number of its messages."""

    name: str
    type_name: str
    count: int


class BagMessage(NamedTuple):
    """A message as stored; `decode` gives the object."""

    topic: str
    log_stamp_ns: int
    data: bytes
    file: _BagFile
    type_name: str

    def decode(self) -> Any:
        """The message object.

        Raises:
            BagError: the bytes do not fit the type.
        """
        try:
            return self.file.deserialize(self.data, self.type_name)
        except Exception as error:  # rosbags lets struct, index and value errors of damaged bytes through
            raise BagError(
                f"{self.file.path}: topic {self.topic}, bag time {self.log_stamp_ns} ns: "
                f"{len(self.data)} bytes are no {self.type_name}: {error}"
            ) from error


class BagReader:
    """A bag: a folder with `metadata.yaml`, or bare .mcap, .db3 or .bag files, split or compressed ones too.

    Args:
        path: of the bag.
        strict: refuse a bag that was cut off, or that holds none of the types this package uses. If not, its files
            are read up to where they were cut.

    Attributes:
        topics: those of types this package uses.
        other_topics: the others.
        cuts: for each file that was cut off, its name and where its readable part ends; what else is missing.

    Raises:
        BagError: truncated, empty, or no bag.
    """

    def __init__(self, path: Path, strict: bool = True) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            self._files, self.cuts = self._open(strict)
        except BaseException:
            self._stack.close()
            raise
        self.topics = self._summarize(known=True)
        self.other_topics = self._summarize(known=False)
        if strict and not any(topic.count for topic in self.topics):
            self.close()
            raise BagError(f"{path}: the bag holds no messages")

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """Bag times of the first and after the last message; None without messages."""
        spans = [file.span_ns for file in self._files if file.span_ns is not None]
        return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None

    @property
    def topics_with_header(self) -> frozenset[str]:
        """Topics whose messages begin with a std_msgs/Header, whatever else is in them."""
        return frozenset(c.topic for file in self._files for c in file.connections if _begins_with_header(c))

    def messages(
        self, topics: set[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """The messages of some topics in the order of their bag time, read as the iteration goes.

        Args:
            topics: their names.
            start_ns: bag time of the first message; None begins with the bag.
            stop_ns: bag time behind the last message; None goes on to its end.

        Raises:
            BagError: the file breaks; the message gives the bag time of the last good message.
        """
        last_ns: int | None = None
        try:
            streams = [file.messages(topics, start_ns, stop_ns) for file in self._files]
            for message in heapq.merge(*streams, key=lambda m: m.log_stamp_ns):
                last_ns = message.log_stamp_ns
                yield message
        except Exception as error:  # any error of rosbags, sqlite, zstd or lz4 means: unreadable from here on
            when = "before its first message" if last_ns is None else f"after bag time {last_ns} ns"
            raise BagError(f"{self.path}: the bag cannot be read {when}: {error}") from error

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _open(self, strict: bool) -> tuple[list[_BagFile], list[str]]:
        try:
            return [_BagFile(item, self._stack) for item in storage_paths(self.path)], []
        except BagError as error:
            if strict:
                raise
            self._stack.close()
            return self._open_cut(error)

    def _open_cut(self, reason: BagError) -> tuple[list[_BagFile], list[str]]:
        """What can be read of the files, whatever `metadata.yaml` says, and what is missing of them."""
        files, cuts = [], []
        for item in storage_files(self.path):
            try:
                files.append(_BagFile(item, self._stack, may_be_cut=True))
            except BagError as error:
                cuts.append(str(error))
        if not files:
            raise reason
        cuts = [file.cut for file in files if file.cut is not None] + cuts
        return files, cuts or [f"read without metadata.yaml: {reason}"]

    def _summarize(self, known: bool) -> list[BagTopic]:
        counts: Counter[tuple[str, str]] = Counter()
        for file in self._files:
            for connection in file.connections:
                if (connection.msgtype in KNOWN_TYPES) == known:
                    counts[connection.topic, connection.msgtype] += connection.msgcount
        return [BagTopic(name, type_name, count) for (name, type_name), count in sorted(counts.items())]


class _BagFile:
    def __init__(self, path: Path, stack: ExitStack, may_be_cut: bool = False) -> None:
        self.path = path
        self.is_ros1 = path.name.endswith((".bag", ".bag.active"))
        try:
            self._reader, self.cut = open_storage(path, stack, may_be_cut)
            self.connections: list[Connection] = list(self._reader.connections)
            self._store = _typestore([c for c in self.connections if c.msgtype in KNOWN_TYPES])
        except Exception as error:  # as in `BagReader.messages`: a damaged file makes rosbags raise almost anything
            raise BagError(
                f"{path}: cannot open the bag: {error or type(error).__name__}{repair_hint(path)}"
            ) from error

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """Bag times of the first and after the last message; None without messages."""
        has_any = any(connection.msgcount for connection in self.connections)
        return (self._reader.start_time, self._reader.end_time) if has_any else None

    def deserialize(self, data: bytes, type_name: str) -> Any:
        if self.is_ros1:
            return self._store.deserialize_ros1(data, type_name)
        return self._store.deserialize_cdr(data, type_name)

    def messages(self, topics: set[str], start_ns: int | None, stop_ns: int | None) -> Iterator[BagMessage]:
        wanted = [connection for connection in self.connections if connection.topic in topics]
        known = [connection for connection in wanted if connection.msgtype in KNOWN_TYPES]
        readable = {connection.topic for connection in known}
        wanted = known + [connection for connection in wanted if connection.topic not in readable]
        if not wanted:  # rosbags takes an empty list as "all"
            return
        for connection, log_stamp_ns, data in self._reader.messages(wanted, start=start_ns, stop=stop_ns):
            plain = data if self.is_ros1 else plain_message(data)
            yield BagMessage(connection.topic, log_stamp_ns, plain, self, connection.msgtype)


def _begins_with_header(connection: Connection) -> bool:
    """By the type, or by the first field (constants aside) of the definition that the bag carries."""
    lines = (line.split("#")[0] for line in connection.msgdef.data.splitlines())
    first = next((line.split()[0] for line in lines if line.strip() and "=" not in line), "")
    return connection.msgtype in _WITH_HEADER or first in ("Header", "std_msgs/Header", "std_msgs/msg/Header")


def _typestore(connections: list[Connection]) -> Typestore:
    """The definitions that the bag carries; those of ROS 2 Jazzy where it carries none."""
    types: dict[str, Any] = {}
    for connection in connections:
        text = connection.msgdef.data
        if not text.strip():  # sqlite3 bags from before Iron, and recorders that did not find the definition
            continue
        if connection.msgdef.format == MessageDefinitionFormat.MSG:
            types.update(get_types_from_msg(text, connection.msgtype))
        elif connection.msgdef.format == MessageDefinitionFormat.IDL:
            for part in text.split(_SEPARATOR):
                types.update(get_types_from_idl(part.partition("\n")[2] if part.startswith("IDL: ") else part))
    if any(connection.msgtype not in types for connection in connections):
        types = {**bag_typestore().fielddefs, **types}
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return store
