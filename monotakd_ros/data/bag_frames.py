"""From a bag's stream of messages to frames: what belongs to an image, in time and in space.

An image waits until the bag's clock is `LINGER_NS` past it, then takes the nearest cloud and ground truth by header
stamp, the CameraInfo valid at its stamp, and its pose from tf.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monotakd_ros.data.bag_geometry import BagGeometry, Placement
from monotakd_ros.data.bag_reader import BagMessage, BagReader
from monotakd_ros.data.bag_topics import BagTopics
from monotakd_ros.data.bag_windows import MAX_WAITING, CameraTimeline, Window
from monotakd_ros.data.camera_frames import CameraRectifier
from monotakd_ros.data.camera_info import ImageRectifier
from monotakd_ros.data.frame_text import FrameText
from monotakd_ros.data.from_msg import (
    camera_info_from_msg,
    image_from_msg,
    labels_from_msg,
    points_from_msg,
    stamp_ns_from_msg,
)
from monotakd_ros.data.kitti import calibrated_extrinsic, read_labels
from monotakd_ros.data.kitti_text import labels_from_text
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.data.transform_tree import frame_name
from monotakd_ros.errors import BagError, FrameError
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar, transform_points

logger = logging.getLogger(__name__)

LINGER_NS = 400_000_000
"""How far the bag's clock runs past an image before it goes out; covers the lag of clouds and tf."""


class _Image(NamedTuple):
    stamp_ns: int
    log_stamp_ns: int
    message: Any
    """The message, or the error of its bytes."""


class FrameAssembler:
    """Collects messages and gives frames.

    Args:
        reader: read ahead for static transforms and the first CameraInfo.
        topics: which topic plays which part.
        options: label folder, tolerance, rectification.
        first_index: number of the first frame.
    """

    def __init__(self, reader: BagReader, topics: BagTopics, options: SourceOptions, first_index: int = 0) -> None:
        self._path = reader.path
        self._topics = topics
        self._options = options
        self._tolerance_ns = int(options.cloud_tolerance_s * 1e9)
        self._beside = (self._path if self._path.is_dir() else self._path.parent) / "label_2"
        self._waiting: list[_Image] = []
        self._clouds, self._truths = Window(), Window()
        self._label_texts, self._frame_texts = Window(), Window()
        self._cameras = CameraTimeline()
        self._geometry = BagGeometry(reader.path)
        self._rectifier = CameraRectifier(options.rectify, topics.image_is_rectified)
        self._lidar_frame: str | None = None
        self._count = first_index
        self._calibrated = None if options.calibration is None else calibrated_extrinsic(options.calibration)
        self._read_ahead(reader)

    def take(self, message: BagMessage) -> None:
        """Take one message of the stream."""
        is_image = message.topic == self._topics.image.name
        try:
            value = message.decode()
            stamp_ns = self._stamp_ns(value, message)
        except BagError as error:
            if is_image:
                value, stamp_ns = FrameError(str(error)), message.log_stamp_ns
            else:
                logger.warning("%s; left out", error)
                return
        if is_image:
            bisect.insort(self._waiting, _Image(stamp_ns, message.log_stamp_ns, value), key=lambda i: i.stamp_ns)
        elif message.topic == self._topics.camera_info:
            self._cameras.add(stamp_ns, camera_info_from_msg(value), self._where(message.topic, stamp_ns))
        elif message.topic in self._topics.moving_transforms:
            self._geometry.add(value, is_static=False)
        else:
            self._window(message.topic).add(stamp_ns, value)

    def ready(self, log_stamp_ns: int | None) -> Iterator[Frame | FrameError]:
        """The frames of images logged up to `log_stamp_ns` (None: all), in time order."""
        while self._waiting and (
            log_stamp_ns is None or self._waiting[0].log_stamp_ns <= log_stamp_ns or len(self._waiting) > MAX_WAITING
        ):
            image = self._waiting.pop(0)
            try:
                yield self._frame(image, self._count)
            except FrameError as error:
                yield error
            self._count += 1
            self._clouds.forget_before(image.stamp_ns - self._tolerance_ns)

    def _read_ahead(self, reader: BagReader) -> None:
        try:
            for message in reader.messages(set(self._topics.static_transforms)):
                self._geometry.add(message.decode(), is_static=True)
        except BagError as error:  # met again, and reported, when the images come to that place
            logger.warning("%s", error)
        for message in reader.messages({self._topics.camera_info}):
            self.take(message)
            if len(self._cameras):
                return
        raise BagError(f"{self._path}: no readable CameraInfo on {self._topics.camera_info}")

    def _window(self, topic: str) -> Window:
        windows = {
            self._topics.points: self._clouds,
            self._topics.ground_truth: self._truths,
            self._topics.label_text: self._label_texts,
            self._topics.frame_text: self._frame_texts,
        }
        return windows[topic]

    def _frame(self, image: _Image, index: int) -> Frame:
        if isinstance(image.message, FrameError):
            raise image.message
        stamp_ns = image.stamp_ns
        where = self._where(self._topics.image.name, stamp_ns)
        rectifier, pixels = self._rectified(image_from_msg(image.message, where), stamp_ns, where)
        camera_frame = frame_name(image.message.header.frame_id) or "camera"
        text = self._frame_text(stamp_ns)
        cloud = self._clouds.nearest(stamp_ns, self._tolerance_ns)
        truth = self._truths.nearest(stamp_ns, self._tolerance_ns)
        self._lidar_frame = self._find_lidar_frame(cloud, truth, text, camera_frame)
        placement = self._geometry.place(camera_frame, self._lidar_frame, stamp_ns, text, self._calibrated)
        points_lidar = self._points(cloud, placement, camera_frame)
        cam_T_lidar = placement.cam_T_lidar
        labels_T = nominal_cam_T_lidar() if cam_T_lidar is None else cam_T_lidar
        labels = self._labels(stamp_ns, index, truth, labels_T, (camera_frame, placement.lidar_frame_id))
        return Frame(
            name=text.name if text and text.name else f"{index:06d}",
            stamp_ns=stamp_ns,
            image=pixels,
            camera=rectifier.camera,
            camera_frame_id=camera_frame,
            cam_T_lidar=cam_T_lidar if labels is None else labels_T,
            points_lidar=points_lidar,
            points_stamp_ns=None if points_lidar is None else cloud[0],
            lidar_frame_id=placement.lidar_frame_id,
            labels=labels,
            world_T_lidar=placement.world_T_lidar,
        )

    def _frame_text(self, stamp_ns: int) -> FrameText | None:
        text = self._frame_texts.nearest(stamp_ns, 0)
        return text and FrameText.parse(text[1].data, self._where(self._topics.frame_text, stamp_ns))

    def _rectified(self, image: np.ndarray, stamp_ns: int, where: str) -> tuple[ImageRectifier, np.ndarray]:
        rectifier = self._rectifier.rectifier(self._cameras.at(stamp_ns), image, where)
        return rectifier, rectifier.apply(image)

    def _find_lidar_frame(self, cloud: Any, truth: Any, text: FrameText | None, camera_frame: str) -> str | None:
        """Name of the cloud's frame; without a cloud, of what else is given in LiDAR axes, or what it was before."""
        if cloud is not None:
            return frame_name(cloud[1].header.frame_id)
        if text is not None and text.lidar_frame_id:
            return text.lidar_frame_id
        if truth is not None and frame_name(truth[1].header.frame_id) != camera_frame:
            return frame_name(truth[1].header.frame_id)
        return self._lidar_frame

    def _points(self, cloud: Any, placement: Placement, camera_frame: str) -> np.ndarray | None:
        if cloud is None:
            return None
        if placement.cam_T_lidar is None:
            self._geometry.warn_once(f"no transform from {self._lidar_frame} to {camera_frame}: clouds are left out")
            return None
        points = points_from_msg(cloud[1], self._where(self._topics.points, cloud[0]))
        if placement.lidar_T_cloud is not None:
            points[:, :3] = transform_points(placement.lidar_T_cloud, points[:, :3])
        moved = self._motion_since(cloud[0], placement, camera_frame) if self._options.compensate_motion else None
        if moved is not None:
            points[:, :3] = transform_points(moved, points[:, :3])
        return points

    def _motion_since(self, cloud_stamp_ns: int, placement: Placement, camera_frame: str) -> np.ndarray | None:
        """(4, 4) from the lidar frame at the cloud's stamp into that at the image's; None where it is not known."""
        then = self._geometry.place(camera_frame, self._lidar_frame, cloud_stamp_ns, None, self._calibrated)
        if placement.world_T_lidar is None or then.world_T_lidar is None:
            self._geometry.warn_once("no world pose at some clouds or images: these clouds are not motion-compensated")
            return None
        return np.linalg.inv(placement.world_T_lidar) @ then.world_T_lidar

    def _labels(
        self, stamp_ns: int, index: int, truth: Any, cam_T_lidar: np.ndarray, frame_ids: tuple[str, str]
    ) -> Labels3D | None:
        """The frame's ground truth: from the label folder asked for, our text, the message, or beside the bag."""
        if self._options.label_dir is not None:
            return read_labels(_label_path(self._options.label_dir, index), cam_T_lidar)
        text = self._label_texts.nearest(stamp_ns, 0)
        if text is not None:
            return labels_from_text(text[1].data, cam_T_lidar, self._where(self._topics.label_text, text[0]))
        if truth is not None:
            return self._labels_from_truth(truth, stamp_ns, cam_T_lidar, frame_ids)
        return read_labels(_label_path(self._beside, index), cam_T_lidar)

    def _labels_from_truth(
        self, truth: Any, stamp_ns: int, cam_T_lidar: np.ndarray, frame_ids: tuple[str, str]
    ) -> Labels3D | None:
        camera_frame, lidar_frame = frame_ids
        truth_frame = frame_name(truth[1].header.frame_id)
        if truth_frame == lidar_frame:
            return self._labels_from_msg(truth, np.eye(4))
        cam_T_truth = self._geometry.lookup(camera_frame, truth_frame, stamp_ns)
        if cam_T_truth is None:
            self._geometry.warn_once(f"no transform from {truth_frame} to {camera_frame}: ground truth is left out")
            return None
        return self._labels_from_msg(truth, np.linalg.inv(cam_T_lidar) @ cam_T_truth)

    def _labels_from_msg(self, truth: Any, lidar_T_truth: np.ndarray) -> Labels3D | None:
        """None, and a warning, where a label is no box: the frame is good for everything but to learn from."""
        try:
            where = f"topic {self._topics.ground_truth}, stamp {truth[0]} ns"
            return labels_from_msg(truth[1], lidar_T_truth, where)
        except FrameError as error:
            self._geometry.warn_once(f"{error}; all labels of this frame are left out")
            return None

    def _stamp_ns(self, value: Any, message: BagMessage) -> int:
        """The header's stamp; the bag's time for messages without one (or with an empty one)."""
        header = getattr(value, "header", None)
        return (stamp_ns_from_msg(header.stamp) if header is not None else 0) or message.log_stamp_ns

    def _where(self, topic: str | None, stamp_ns: int) -> str:
        return f"{self._path}: topic {topic}, stamp {stamp_ns} ns"


def _label_path(folder: Path, index: int) -> Path:
    """`NNNNNNNNNN.txt`, or KITTI's six digits."""
    long = folder / f"{index:010d}.txt"
    return long if long.is_file() else folder / f"{index:06d}.txt"
