"""Which topics of a bag to read: by type when there is one candidate, by option otherwise.

An image topic and its `/compressed` twin count as one; the raw one is read. The camera info is the image topic's
sibling (image_transport's rule: same namespace, `camera_info`), else the only one. Clouds and ground truth are
optional.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from monotakd_ros.data.bag_reader import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    DETECTIONS,
    IMAGE,
    POINT_CLOUD,
    STRING,
    TRANSFORMS,
    BagTopic,
)
from monotakd_ros.data.bag_writer import FRAME_TEXT_TOPIC
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.errors import BagError

logger = logging.getLogger(__name__)

NO_TOPIC = "none"
"""Option value that leaves an optional topic out."""
_COMPRESSED = "/compressed"


@dataclass(frozen=True)
class BagTopics:
    """The topics to read; None where the bag has none."""

    image: BagTopic
    camera_info: str
    points: str | None
    ground_truth: str | None
    label_text: str | None
    frame_text: str | None
    static_transforms: frozenset[str]
    moving_transforms: frozenset[str]

    @property
    def image_is_rectified(self) -> bool:
        """Whether the image topic's own name says so (`image_rect`, `image_rect_color`)."""
        return "rect" in _base_name(self.image.name).rpartition("/")[2]

    @property
    def streamed(self) -> set[str]:
        """Everything but static transforms."""
        optional = (self.points, self.ground_truth, self.label_text, self.frame_text)
        return {self.image.name, self.camera_info, *self.moving_transforms, *(name for name in optional if name)}


def choose_topics(topics: list[BagTopic], options: SourceOptions, path: Path) -> BagTopics:
    """Choose by type and options.

    Raises:
        BagError: no image or camera info topic, several candidates, or an option that names none.
    """
    topics = [topic for topic in topics if topic.count]
    image = _choose_image(topics, options.image_topic, path)
    ground_truth = _choose_ground_truth(topics, options.ground_truth_topic, path)
    names = {topic.name for topic in topics if topic.type_name == STRING}
    label_text = f"{ground_truth or '/ground_truth'}/kitti"
    transforms = {topic.name for topic in topics if topic.type_name in TRANSFORMS}
    static = frozenset(name for name in transforms if name.endswith("_static"))
    return BagTopics(
        image=image,
        camera_info=_choose_camera_info(topics, image, options.camera_info_topic, path),
        points=_choose_optional(topics, POINT_CLOUD, options.points_topic, "--points-topic", path),
        ground_truth=ground_truth,
        label_text=label_text if label_text in names and options.ground_truth_topic != NO_TOPIC else None,
        frame_text=FRAME_TEXT_TOPIC if FRAME_TEXT_TOPIC in names else None,
        static_transforms=static,
        moving_transforms=frozenset(transforms - static),
    )


def _choose_image(topics: list[BagTopic], wanted: str | None, path: Path) -> BagTopic:
    candidates = [topic for topic in topics if topic.type_name in (IMAGE, COMPRESSED_IMAGE)]
    if wanted is not None:
        for topic in candidates:
            if topic.name == wanted:
                return topic
        raise BagError(f"{path}: no image topic {wanted!r} in this bag; {_listing(candidates, 'image')}")
    cameras = {_base_name(topic.name): topic for topic in candidates if topic.type_name == COMPRESSED_IMAGE}
    cameras.update({topic.name: topic for topic in candidates if topic.type_name == IMAGE})
    if len(cameras) == 1:
        return next(iter(cameras.values()))
    if not cameras:
        kinds = f"{path}: no camera topic: expected sensor_msgs Image or CompressedImage"
        raise BagError(f"{kinds}; {_listing(topics, 'usable')}")
    raise BagError(f"{path}: several cameras, choose one with --image-topic: {_names(cameras.values())}")


def _choose_camera_info(topics: list[BagTopic], image: BagTopic, wanted: str | None, path: Path) -> str:
    names = [topic.name for topic in topics if topic.type_name == CAMERA_INFO]
    sibling = f"{_base_name(image.name).rpartition('/')[0]}/camera_info"
    if wanted is not None:
        if wanted in names:
            return wanted
        raise BagError(f"{path}: no CameraInfo topic {wanted!r} in this bag; there are: {', '.join(names) or 'none'}")
    if sibling in names:
        return sibling
    if len(names) == 1:
        logger.warning("%s: %s has no sibling %s; using %s", path, image.name, sibling, names[0])
        return names[0]
    if not names:
        raise BagError(f"{path}: no CameraInfo: expected {sibling} for the images on {image.name}")
    raise BagError(
        f"{path}: {image.name} has no sibling {sibling}; choose one with --camera-info-topic: {', '.join(names)}"
    )


def _choose_ground_truth(topics: list[BagTopic], wanted: str | None, path: Path) -> str | None:
    named = [topic for topic in topics if topic.type_name == DETECTIONS and "ground_truth" in topic.name]
    if wanted is None and len(named) == 1:
        return named[0].name
    return _choose_optional(topics, DETECTIONS, wanted, "--ground-truth-topic", path)


def _choose_optional(topics: list[BagTopic], type_name: str, wanted: str | None, option: str, path: Path) -> str | None:
    if wanted == NO_TOPIC:
        return None
    candidates = [topic for topic in topics if topic.type_name == type_name]
    if wanted is not None:
        if any(topic.name == wanted for topic in candidates):
            return wanted
        raise BagError(f"{path}: no {type_name} topic {wanted!r} in this bag; {_listing(candidates, type_name)}")
    if len(candidates) > 1:
        raise BagError(
            f"{path}: several topics of type {type_name}, choose one with {option} (or '{NO_TOPIC}'): "
            f"{_names(candidates)}"
        )
    return candidates[0].name if candidates else None


def _base_name(name: str) -> str:
    return name.removesuffix(_COMPRESSED)


def _names(topics: object) -> str:
    return ", ".join(sorted(topic.name for topic in topics))


def _listing(topics: list[BagTopic], kind: str) -> str:
    if not topics:
        return f"it has no {kind} topics"
    return f"its {kind} topics: " + ", ".join(f"{topic.name} ({topic.type_name})" for topic in topics)
