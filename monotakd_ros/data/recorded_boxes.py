"""Recorded boxes of a whole bag, in time order, with what places them: tf and the camera. Images are not needed."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from monotakd_ros.data.bag_geometry import BagGeometry
from monotakd_ros.data.bag_reader import TRANSFORMS, BagMessage, BagReader
from monotakd_ros.data.bag_topics import (
    camera_info_candidates,
    choose_detections,
    choose_ground_truth_boxes,
    choose_label_info,
)
from monotakd_ros.data.boxes_from_msg import ClassNames, RecordedBoxes, boxes_from_msg
from monotakd_ros.data.camera_info import CameraInfo, ImageRectifier
from monotakd_ros.data.from_msg import camera_info_from_msg, stamp_ns_from_msg
from monotakd_ros.data.transform_tree import frame_name
from monotakd_ros.errors import BagError
from monotakd_ros.geometry.camera import CameraModel


class RecordedCamera:
    """The camera that a bag's CameraInfo describes, with all its changes.

    Args:
        where: bag and topic, for messages.

    Attributes:
        frame_id: tf name of its optical frame; empty before the first message.
    """

    def __init__(self, where: str) -> None:
        self.frame_id = ""
        self._where = where
        self._stamps_ns: list[int] = []
        self._infos: list[CameraInfo] = []

    def __len__(self) -> int:
        """Number of different CameraInfos."""
        return len(self._infos)

    def add(self, message: BagMessage) -> None:
        """Add a CameraInfo."""
        value = message.decode()
        self.frame_id = frame_name(value.header.frame_id) or self.frame_id
        stamp_ns = stamp_ns_from_msg(value.header.stamp) or message.log_stamp_ns
        info = camera_info_from_msg(value)
        index = bisect.bisect_right(self._stamps_ns, stamp_ns)
        if index == 0 or not self._infos[index - 1].same_as(info):
            self._stamps_ns.insert(index, stamp_ns)
            self._infos.insert(index, info)

    def at(self, stamp_ns: int) -> CameraModel:
        """The rectified camera at a time: the last said by then, else the first said.

        Raises:
            CalibrationError: it is not calibrated, or says no image size.
        """
        info = self._infos[max(bisect.bisect_right(self._stamps_ns, stamp_ns) - 1, 0)]
        return ImageRectifier(info, *info.image_size, rectify=False, where=self._where).camera


@dataclass(frozen=True, eq=False)
class BoxRecording:
    """The Detection3DArrays of one topic.

    Attributes:
        path: of the bag.
        topic: of the arrays.
        arrays: rising stamps, each once: of several with the same stamp, the last recorded.
        geometry: tf of the bag.
        camera: of the bag's only CameraInfo topic, or of the one asked for; None without.
        camera_topics: the CameraInfo topics that were to choose from.
        repeated: number of arrays that another of the same stamp replaced.
        unreadable: reasons of messages that could not be read.
    """

    path: Path
    topic: str
    arrays: tuple[RecordedBoxes, ...]
    geometry: BagGeometry
    camera: RecordedCamera | None
    camera_topics: tuple[str, ...]
    repeated: int
    unreadable: tuple[str, ...]


def read_detections(
    path: Path, topic: str | None, class_map: Mapping[str, str], camera_info_topic: str | None = None
) -> BoxRecording:
    """The detections in a bag.

    Args:
        path: rosbag1 or rosbag2.
        topic: of the arrays; None finds the only one that is not named as ground truth.
        class_map: class names or ids -> KITTI types.
        camera_info_topic: None finds the only one.

    Raises:
        BagError: the bag cannot be read, the topic is none or several, or no array can be read.
        ConfigError: `class_map` leads to something that is no KITTI type.
    """
    reader = BagReader(path)
    try:
        return _read(reader, choose_detections(reader.topics, topic, path), class_map, camera_info_topic)
    finally:
        reader.close()


def read_ground_truth_boxes(
    path: Path,
    topic: str | None,
    class_map: Mapping[str, str],
    camera_info_topic: str | None = None,
    detections: str | None = None,
) -> BoxRecording:
    """Ground truth in a bag, as `read_detections`; `detections` is a topic of the bag that is not meant."""
    reader = BagReader(path)
    try:
        chosen = choose_ground_truth_boxes(reader.topics, topic, path, detections)
        return _read(reader, chosen, class_map, camera_info_topic)
    finally:
        reader.close()


def read_transforms(paths: Iterable[Path]) -> BagGeometry:
    """tf of several bags together; where they differ about an edge, the last bag counts.

    Raises:
        BagError: a bag cannot be read.
    """
    geometry: BagGeometry | None = None
    for path in paths:
        geometry = geometry or BagGeometry(path, max_samples=None)
        reader = BagReader(path)
        try:
            for message in reader.messages(_transform_topics(reader)):
                _add_transforms(geometry, message)
        finally:
            reader.close()
    return geometry or BagGeometry(Path())


class _Recorder:
    """Takes a bag's messages one by one.

    Args:
        reader: the bag.
        topic: of the arrays.
        class_names: names of their class ids.
        camera_info_topic: the one asked for; None for the only one.
    """

    def __init__(self, reader: BagReader, topic: str, class_names: ClassNames, camera_info_topic: str | None) -> None:
        self._path, self._topic, self._class_names = reader.path, topic, class_names
        self._camera_topics = camera_info_candidates(reader.topics, camera_info_topic)
        self._camera_topic = self._camera_topics[0] if len(self._camera_topics) == 1 else None
        self._camera = RecordedCamera(f"{reader.path}: topic {self._camera_topic}")
        self._geometry = BagGeometry(reader.path, max_samples=None)  # boxes are placed when the whole bag is read
        self._arrays: list[RecordedBoxes] = []
        self._unreadable: list[str] = []
        self.topics = {topic, *_transform_topics(reader), *([self._camera_topic] if self._camera_topic else [])}

    def take(self, message: BagMessage) -> None:
        """Take one message; one that cannot be read is noted."""
        try:
            if message.topic == self._topic:
                self._arrays.append(boxes_from_msg(message.decode(), self._class_names, message.log_stamp_ns))
            elif message.topic == self._camera_topic:
                self._camera.add(message)
            else:
                _add_transforms(self._geometry, message)
        except BagError as error:
            self._unreadable.append(str(error))

    def recording(self) -> BoxRecording:
        """All that was taken."""
        by_stamp = {array.stamp_ns: array for array in self._arrays}
        if not by_stamp:
            raise BagError(f"{self._path}: topic {self._topic}: no array can be read: {self._unreadable[0]}")
        return BoxRecording(
            path=self._path,
            topic=self._topic,
            arrays=tuple(by_stamp[stamp_ns] for stamp_ns in sorted(by_stamp)),
            geometry=self._geometry,
            camera=self._camera if len(self._camera) else None,
            camera_topics=self._camera_topics,
            repeated=len(self._arrays) - len(by_stamp),
            unreadable=tuple(self._unreadable),
        )


def _read(reader: BagReader, topic: str, class_map: Mapping[str, str], camera_info_topic: str | None) -> BoxRecording:
    class_names = ClassNames(_names_by_number(reader, topic), class_map)
    recorder = _Recorder(reader, topic, class_names, camera_info_topic)
    for message in reader.messages(recorder.topics):
        recorder.take(message)
    return recorder.recording()


def _names_by_number(reader: BagReader, boxes_topic: str) -> dict[str, str]:
    """Class names by id from the first LabelInfo that can be read; empty without one."""
    topic = choose_label_info(reader.topics, boxes_topic)
    for message in reader.messages({topic} if topic else set()):
        return {str(item.class_id): item.class_name for item in message.decode().class_map}
    return {}


def _transform_topics(reader: BagReader) -> set[str]:
    return {topic.name for topic in reader.topics if topic.type_name in TRANSFORMS}


def _add_transforms(geometry: BagGeometry, message: BagMessage) -> None:
    geometry.add(message.decode(), is_static=message.topic.endswith("_static"))
