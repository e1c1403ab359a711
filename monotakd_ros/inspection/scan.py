"""One pass over a bag that looks at every message's head: stamps, frames, transforms, CameraInfo.

Pixels and points are not decoded. Of a bag larger than `MAX_BYTES` some spans are read, spread evenly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monotakd_ros.data.bag_reader import CAMERA_INFO, TRANSFORMS, BagMessage, BagReader
from monotakd_ros.data.camera_info import CameraInfo
from monotakd_ros.data.from_msg import camera_info_from_msg, transforms_from_msg
from monotakd_ros.errors import BagError, CalibrationError
from monotakd_ros.inspection.message_head import read_head
from monotakd_ros.inspection.stamps import StampLog
from monotakd_ros.inspection.transform_record import TransformRecord

MAX_BYTES = 1 << 30
SPANS = 24
MARGIN_NS = 200_000_000
"""At the rim of a span the clouds and transforms of an image may be missing."""
MAX_NAMES = 16
MAX_CAMERA_INFOS = 16


class StampedCameraInfo(NamedTuple):
    """A CameraInfo that says something new."""

    stamp_ns: int
    frame_id: str
    info: CameraInfo


@dataclass
class Scan:
    """What the pass found.

    Attributes:
        start_ns, end_ns: bag times of the first and behind the last message.
        bytes: of the bag's files.
        share_read: of the recorded time, 0..1.
        spans: (start, end) of what was read; empty when that is everything.
        stamps: by topic.
        frame_ids: by topic, how many messages name each frame.
        camera_infos: by topic, those that differ from the one before.
        transforms: of tf and tf_static.
        unreadable: messages whose bytes do not fit their type, by topic.
        bad_transforms: transforms with a broken quaternion.
        broken: where the bag cannot be read further; None when it can.
    """

    start_ns: int
    end_ns: int
    bytes: int
    share_read: float = 1.0
    spans: list[tuple[int, int]] = field(default_factory=list)
    stamps: dict[str, StampLog] = field(default_factory=dict)
    frame_ids: dict[str, Counter[str]] = field(default_factory=dict)
    camera_infos: dict[str, list[StampedCameraInfo]] = field(default_factory=dict)
    transforms: TransformRecord = field(default_factory=TransformRecord)
    unreadable: Counter[str] = field(default_factory=Counter)
    bad_transforms: int = 0
    broken: str | None = None

    def with_surroundings(self, topic: str) -> np.ndarray:
        """(N,) header stamps of the topic's messages around which the other topics were read too."""
        log = self.stamps[topic]
        bag_ns = log.log_ns
        inside = [(bag_ns >= start + MARGIN_NS) & (bag_ns < end - MARGIN_NS) for start, end in self.spans]
        return log.header_ns[np.any(inside, axis=0)] if inside else log.header_ns


def scan_bag(reader: BagReader, read_all: bool = False) -> Scan:
    """Read the heads of a bag's messages.

    Args:
        reader: of the bag.
        read_all: every message, however large the bag is.
    """
    start_ns, end_ns = reader.span_ns or (0, 0)
    scan = Scan(start_ns, end_ns, _size(reader.path))
    scanner = _Scanner(reader, scan)
    spans = [(None, None)] if read_all or scan.bytes <= MAX_BYTES else _spans(start_ns, end_ns, MAX_BYTES / scan.bytes)
    if spans[0][0] is not None:
        scan.spans = spans
        scan.share_read = sum(stop - start for start, stop in spans) / (end_ns - start_ns)
    try:
        scanner.read_static()
        for span in spans:
            scanner.read(*span)
    except BagError as error:
        scan.broken = str(error)
    return scan


class _Scanner:
    def __init__(self, reader: BagReader, scan: Scan) -> None:
        self._reader = reader
        self._scan = scan
        self._types = {topic.name: topic.type_name for topic in (*reader.other_topics, *reader.topics)}
        self._with_header = reader.topics_with_header
        self._static = {name for name, kind in self._types.items() if kind in TRANSFORMS and name.endswith("_static")}
        self._last_info: dict[str, bytes] = {}
        scan.stamps = {name: StampLog() for name in self._types}

    def read_static(self) -> None:
        """Static transforms come once, wherever."""
        for message in self._reader.messages(self._static):
            self._stamp(message)
            self._transforms(message, is_static=True)

    def read(self, start_ns: int | None, stop_ns: int | None) -> None:
        """Read a span of bag time."""
        for log in self._scan.stamps.values():
            log.begin_span()
        for message in self._reader.messages(set(self._types) - self._static, start_ns, stop_ns):
            size = self._stamp(message)
            if message.type_name in TRANSFORMS:
                self._transforms(message, is_static=False)
            elif message.type_name == CAMERA_INFO:
                self._camera_info(message, size)

    def _stamp(self, message: BagMessage) -> int:
        """Note when the message is from; returns the size of its head."""
        name = message.topic
        head = read_head(message.data, message.file.is_ros1) if name in self._with_header else None
        self._scan.stamps[name].add(message.log_stamp_ns, head and head.stamp_ns, len(message.data))
        if head is None:
            self._scan.unreadable[name] += name in self._with_header
            return 0
        names = self._scan.frame_ids.setdefault(name, Counter())
        if head.frame_id in names or len(names) < MAX_NAMES:
            names[head.frame_id] += 1
        return head.size

    def _transforms(self, message: BagMessage, is_static: bool) -> None:
        try:
            for item in transforms_from_msg(message.decode()):
                self._scan.transforms.add(item, is_static)
        except BagError:
            self._scan.unreadable[message.topic] += 1
        except CalibrationError:
            self._scan.bad_transforms += 1

    def _camera_info(self, message: BagMessage, head_size: int) -> None:
        body = bytes(message.data[head_size:])
        if self._last_info.get(message.topic) == body:
            return
        self._last_info[message.topic] = body
        infos = self._scan.camera_infos.setdefault(message.topic, [])
        try:
            value = message.decode()
        except BagError:
            self._scan.unreadable[message.topic] += 1
            return
        info = camera_info_from_msg(value)
        if len(infos) < MAX_CAMERA_INFOS and not (infos and infos[-1].info.same_as(info)):
            stamp_ns = value.header.stamp.sec * 1_000_000_000 + value.header.stamp.nanosec
            infos.append(StampedCameraInfo(stamp_ns, value.header.frame_id, info))


def _spans(start_ns: int, end_ns: int, share: float) -> list[tuple[int, int]]:
    length = int((end_ns - start_ns) * share / SPANS)
    starts = np.linspace(start_ns, end_ns - length, SPANS).astype(np.int64)
    return [(int(start), int(start) + length) for start in starts]


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [item for item in path.iterdir() if item.is_file()]
    return sum(file.stat().st_size for file in files)
