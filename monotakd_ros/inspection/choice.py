"""Which topics of a bag are the camera and the LiDAR; what is missing or ambiguous is said, not raised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from monotakd_ros.data.bag_reader import BagReader
from monotakd_ros.data.bag_topics import choose_camera_info, choose_image, choose_points, choose_topics, rectified_name
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.errors import BagError

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """The topics that were inspected as camera and LiDAR; None where there is none, or no telling which.

    Attributes:
        problems: why `generate` and the other verbs could not choose.
    """

    image: str | None
    camera_info: str | None
    points: str | None
    image_is_rectified: bool
    problems: tuple[str, ...]


def choose(reader: BagReader, options: SourceOptions) -> Choice:
    """Choose as every other verb does, each topic for itself."""
    topics = [topic for topic in reader.topics if topic.count]
    path, problems = reader.path, []

    def attempt(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except BagError as error:
            text = str(error).removeprefix(f"{path}: ")
            if text not in problems:
                problems.append(text)
            return None

    image = attempt(lambda: choose_image(topics, options.image_topic, path))
    info = image and attempt(lambda: choose_camera_info(topics, image, options.camera_info_topic, path))
    points = attempt(lambda: choose_points(topics, options.points_topic, path))
    if image and info and not problems:
        attempt(lambda: choose_topics(topics, options, path))  # ground truth and odometry may be ambiguous too
    return Choice(image and image.name, info, points, bool(image and rectified_name(image.name)), tuple(problems))
