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
    LABEL_INFO,
    ODOMETRY,
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
        return rectified_name(self.image.name)

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
    image = choose_image(topics, options.image_topic, path)
    ground_truth = _choose_ground_truth(topics, options.ground_truth_topic, path)
    names = {topic.name for topic in topics if topic.type_name == STRING}
    label_text = f"{ground_truth or '/ground_truth'}/kitti"
    transforms = {topic.name for topic in topics if topic.type_name in TRANSFORMS}
    static = frozenset(name for name in transforms if name.endswith("_static"))
    return BagTopics(
        image=image,
        camera_info=choose_camera_info(topics, image, options.camera_info_topic, path),
        points=choose_points(topics, options.points_topic, path),
        ground_truth=ground_truth,
        label_text=label_text if label_text in names and options.ground_truth_topic != NO_TOPIC else None,
        frame_text=FRAME_TEXT_TOPIC if FRAME_TEXT_TOPIC in names else None,
        static_transforms=static,
        moving_transforms=_choose_moving(topics, frozenset(transforms - static), options.odometry_topic, path),
    )


def choose_image(topics: list[BagTopic], wanted: str | None, path: Path) -> BagTopic:
    """The image topic: the only camera's, or `wanted`.

    Raises:
        BagError: none or several, or `wanted` is not there.
    """
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


def choose_camera_info(topics: list[BagTopic], image: BagTopic, wanted: str | None, path: Path) -> str:
    """The CameraInfo topic of an image topic: its sibling, the only one, or `wanted`.

    Raises:
        BagError: none or several, or `wanted` is not there.
    """
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


def choose_points(topics: list[BagTopic], wanted: str | None, path: Path) -> str | None:
    """The topic of clouds: the only one, if any, or `wanted`.

    Raises:
        BagError: several, or `wanted` is not there.
    """
    return _choose_optional(topics, POINT_CLOUD, wanted, "--points-topic", path)


def rectified_name(name: str) -> bool:
    """Whether an image topic's own name says that its images are rectified."""
    return "rect" in _base_name(name).rpartition("/")[2]


def has_images(topics: list[BagTopic]) -> bool:
    """Whether a bag can be a source of frames."""
    return any(topic.count and topic.type_name in (IMAGE, COMPRESSED_IMAGE) for topic in topics)


def choose_detections(topics: list[BagTopic], wanted: str | None, path: Path) -> str:
    """The topic of recorded detections: the only Detection3DArray topic that is not named as ground truth.

    Raises:
        BagError: none or several, or `wanted` is not there.
    """
    named = _names_of_type(topics, DETECTIONS)
    candidates = named if wanted else [name for name in named if not _is_ground_truth(name)]
    return _choose_boxes(candidates, wanted, "--detections-topic", path)


def choose_ground_truth_boxes(
    topics: list[BagTopic], wanted: str | None, path: Path, detections: str | None = None
) -> str:
    """The topic of ground truth: the only Detection3DArray topic named so, else the only one besides `detections`.

    Raises:
        BagError: none or several, or `wanted` is not there.
    """
    candidates = _names_of_type(topics, DETECTIONS)
    if wanted is None:
        candidates = [name for name in candidates if name != detections]
        candidates = [name for name in candidates if _is_ground_truth(name)] or candidates
    return _choose_boxes(candidates, wanted, "--ground-truth-topic", path)


def choose_ground_truth_option(topics: list[BagTopic], wanted: str | None, path: Path, detections: str | None) -> str:
    """`SourceOptions.ground_truth_topic` for a bag of images whose topic `detections` is no ground truth.

    Raises:
        BagError: as `choose_ground_truth_boxes`.
    """
    others = [name for name in _names_of_type(topics, DETECTIONS) if name != detections]
    if wanted == NO_TOPIC or (wanted is None and not others):
        return NO_TOPIC
    return choose_ground_truth_boxes(topics, wanted, path, detections)


def choose_label_info(topics: list[BagTopic], boxes: str) -> str | None:
    """The LabelInfo topic beside the topic `boxes` (same namespace), else the only one; None without either."""
    names = _names_of_type(topics, LABEL_INFO)
    beside = [name for name in names if name.rpartition("/")[0] == boxes.rpartition("/")[0]]
    for candidates in (beside, names):
        if len(candidates) == 1:
            return candidates[0]
    return None


def camera_info_candidates(topics: list[BagTopic], wanted: str | None) -> tuple[str, ...]:
    """The CameraInfo topics that may describe the camera of a bag without images: the one wanted, or all."""
    return tuple(name for name in _names_of_type(topics, CAMERA_INFO) if wanted in (None, name))


def _choose_boxes(candidates: list[str], wanted: str | None, option: str, path: Path) -> str:
    listed = ", ".join(candidates) or "none"
    if wanted is not None:
        if wanted in candidates:
            return wanted
        raise BagError(f"{path}: no {DETECTIONS} topic {wanted!r} with messages in this bag; there are: {listed}")
    if not candidates:
        raise BagError(f"{path}: expected a topic of type {DETECTIONS} with messages; found none ({option} names one)")
    if len(candidates) > 1:
        raise BagError(f"{path}: several topics of type {DETECTIONS}, choose one with {option}: {listed}")
    return candidates[0]


def _names_of_type(topics: list[BagTopic], type_name: str) -> list[str]:
    return [topic.name for topic in topics if topic.type_name == type_name and topic.count]


def _is_ground_truth(name: str) -> bool:
    return "ground_truth" in name


def _choose_ground_truth(topics: list[BagTopic], wanted: str | None, path: Path) -> str | None:
    named = [topic for topic in topics if topic.type_name == DETECTIONS and _is_ground_truth(topic.name)]
    if wanted is None and len(named) == 1:
        return named[0].name
    return _choose_optional(topics, DETECTIONS, wanted, "--ground-truth-topic", path)


def _choose_moving(
    topics: list[BagTopic], transforms: frozenset[str], wanted: str | None, path: Path
) -> frozenset[str]:
    """Moving transforms, and the odometry that stands in for them: two sources of one pose would contradict."""
    odometry = _names_of_type(topics, ODOMETRY)
    if wanted is None and (transforms or len(odometry) != 1):
        return transforms
    chosen = _choose_optional(topics, ODOMETRY, wanted, "--odometry-topic", path)
    return transforms | ({chosen} if chosen else set())


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
