"""Decodes a few moments of a bag, spread evenly: an image, the clouds around it, and where the sensors are then.

Only what the checks need is kept of each: edges, sizes, shares. The middle one is kept whole, for a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from monotakd_ros.data.bag_reader import TRANSFORMS, BagMessage, BagReader
from monotakd_ros.data.camera_frames import is_to_rectify
from monotakd_ros.data.camera_info import CameraInfo, ImageRectifier
from monotakd_ros.data.from_msg import image_from_msg, points_from_msg, stamp_ns_from_msg, transforms_from_msg
from monotakd_ros.data.kitti import calibrated_extrinsic
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.data.transform_tree import TransformTree
from monotakd_ros.errors import BagError, CalibrationError, FrameError
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import transform_points
from monotakd_ros.inspection.alignment import SHIFTS, EdgeFrame, edge_frame, edges_in_camera
from monotakd_ros.inspection.choice import Choice
from monotakd_ros.inspection.cloud_layout import CloudLayout, cloud_layout
from monotakd_ros.inspection.scan import Scan
from monotakd_ros.inspection.sync import nearest

MOMENTS = 32
TRANSFORM_MARGIN_NS = 300_000_000
MAX_ERRORS = 5


class _Moment(NamedTuple):
    """Bag times of an image and of the clouds around it, by shift."""

    image_log_ns: int | None
    clouds_log_ns: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One image and its clouds, for a picture.

    Attributes:
        stamp_ns: of the image.
        image: (H, W, 3) uint8 RGB, rectified.
        camera: of the image.
        cam_T_cloud: (4, 4) as recorded.
        clouds: shift -> (N, 3) m, in the cloud's frame.
    """

    stamp_ns: int
    image: np.ndarray
    camera: CameraModel
    cam_T_cloud: np.ndarray
    clouds: Mapping[int, np.ndarray]


@dataclass
class Samples:
    """What the sampled moments gave.

    Attributes:
        images, clouds: decoded.
        image_sizes: width, height, px, of each decoded image.
        layouts: of the clouds nearest to the images.
        shares_in_view: share of a cloud's points that its image shows.
        frames: edges, for the calibration check.
        snapshot: the moment nearest to the middle that has both.
        errors: why moments gave less, at most `MAX_ERRORS`.
    """

    images: int = 0
    clouds: int = 0
    image_sizes: list[tuple[int, int]] = field(default_factory=list)
    layouts: list[CloudLayout] = field(default_factory=list)
    shares_in_view: list[float] = field(default_factory=list)
    frames: list[EdgeFrame] = field(default_factory=list)
    snapshot: Snapshot | None = None
    errors: list[str] = field(default_factory=list)


def sample_bag(reader: BagReader, scan: Scan, choice: Choice, options: SourceOptions) -> Samples:
    """Decode `MOMENTS` moments at most."""
    sampler = _Sampler(reader, scan, choice, options)
    moments = _moments(scan, choice)
    order = np.argsort(np.abs(np.arange(len(moments)) - len(moments) // 2), kind="stable")
    for number in order:  # from the middle, so that the picture is of there
        try:
            sampler.take(moments[number])
        except (BagError, FrameError, CalibrationError) as error:
            sampler.note(str(error))
    sampler.samples.frames.sort(key=lambda frame: frame.stamp_ns)
    return sampler.samples


class _Sampler:
    def __init__(self, reader: BagReader, scan: Scan, choice: Choice, options: SourceOptions) -> None:
        self._reader, self._choice, self._options = reader, choice, options
        self._infos = scan.camera_infos.get(choice.camera_info or "", [])
        self._rectifiers: dict[tuple[int, tuple[int, ...]], ImageRectifier] = {}
        self._calibrated = None if options.calibration is None else calibrated_extrinsic(options.calibration)
        self._tree = TransformTree()
        for edge in scan.transforms.edges:
            if edge.is_static:
                self._tree.add(edge.parent, edge.child, edge.last, 0, is_static=True)
        moving = {topic.name for topic in reader.topics if topic.type_name in TRANSFORMS}
        self._moving = {name for name in moving if not name.endswith("_static")}
        self.samples = Samples()

    def take(self, moment: _Moment) -> None:
        """Decode one moment."""
        found = self._read(moment)
        image_message = found.get((self._choice.image, moment.image_log_ns))
        image = None if image_message is None else self._image(image_message)
        clouds = {}
        for shift, log_ns in moment.clouds_log_ns.items():
            message = found.get((self._choice.points, log_ns))
            if message is not None:
                clouds[shift] = message, self._points(message, describe=shift == 0)
        if image is not None and 0 in clouds:
            self._pair(image_message, *image, clouds)

    def note(self, error: str) -> None:
        """Keep an error for the report."""
        if len(self.samples.errors) < MAX_ERRORS:
            self.samples.errors.append(error)

    def _read(self, moment: _Moment) -> dict[tuple[str | None, int | None], Any]:
        """The moment's messages, decoded, by topic and bag time; moving transforms around it go into the tree."""
        times = [*moment.clouds_log_ns.values()] + [moment.image_log_ns] * (moment.image_log_ns is not None)
        wanted = {(self._choice.image, moment.image_log_ns)}
        wanted |= {(self._choice.points, log_ns) for log_ns in moment.clouds_log_ns.values()}
        topics = {name for name in (self._choice.image, self._choice.points) if name}
        margin = TRANSFORM_MARGIN_NS if self._moving else 0
        found = {}
        for message in self._reader.messages(topics | self._moving, min(times) - margin, max(times) + margin + 1):
            if message.topic in self._moving:
                self._add_transforms(message)
            elif (message.topic, message.log_stamp_ns) in wanted:
                found[message.topic, message.log_stamp_ns] = message.decode()
        return found

    def _add_transforms(self, message: BagMessage) -> None:
        for item in transforms_from_msg(message.decode()):
            self._tree.add(item.parent, item.child, item.parent_T_child, item.stamp_ns, is_static=False)

    def _image(self, message: Any) -> tuple[np.ndarray, CameraModel] | None:
        where = f"{self._reader.path}: topic {self._choice.image}, stamp {stamp_ns_from_msg(message.header.stamp)} ns"
        image = image_from_msg(message, where)
        self.samples.images += 1
        self.samples.image_sizes.append((image.shape[1], image.shape[0]))
        if not self._infos:
            return None
        rectifier = self._rectifier(self._info_at(stamp_ns_from_msg(message.header.stamp)), image.shape, where)
        return rectifier.apply(image), rectifier.camera

    def _info_at(self, stamp_ns: int) -> int:
        before = [number for number, item in enumerate(self._infos) if item.stamp_ns <= stamp_ns]
        return before[-1] if before else 0

    def _rectifier(self, number: int, shape: tuple[int, ...], where: str) -> ImageRectifier:
        key = number, shape
        if key not in self._rectifiers:
            info: CameraInfo = self._infos[number].info
            rectify = is_to_rectify(self._options.rectify, info, self._choice.image_is_rectified)
            self._rectifiers[key] = ImageRectifier(info, shape[1], shape[0], rectify, where)
        return self._rectifiers[key]

    def _points(self, message: Any, describe: bool) -> np.ndarray:
        where = f"{self._reader.path}: topic {self._choice.points}, stamp {stamp_ns_from_msg(message.header.stamp)} ns"
        points = points_from_msg(message, where)[:, :3].astype(np.float64)
        self.samples.clouds += 1
        if describe:
            self.samples.layouts.append(cloud_layout(message, points))
        return points

    def _pair(
        self, message: Any, image: np.ndarray, camera: CameraModel, clouds: Mapping[int, tuple[Any, np.ndarray]]
    ) -> None:
        stamp_ns = stamp_ns_from_msg(message.header.stamp)
        cam_T_cloud = self._calibrated
        if cam_T_cloud is None:
            cloud_frame = clouds[0][0].header.frame_id
            cam_T_cloud = self._tree.lookup(message.header.frame_id, cloud_frame, stamp_ns)
        if cam_T_cloud is None:
            return
        uv_px = camera.project(transform_points(cam_T_cloud, clouds[0][1]))[0]
        if len(uv_px):
            self.samples.shares_in_view.append(float(camera.contains(uv_px).mean()))
        edges = {shift: edges_in_camera(points, cam_T_cloud) for shift, (_, points) in clouds.items()}
        stamps = {shift: stamp_ns_from_msg(cloud.header.stamp) for shift, (cloud, _) in clouds.items()}
        self.samples.frames.append(edge_frame(stamp_ns, image, camera, edges, stamps))
        if self.samples.snapshot is None:
            points = {shift: cloud for shift, (_, cloud) in clouds.items()}
            self.samples.snapshot = Snapshot(stamp_ns, image, camera, cam_T_cloud, points)


def _moments(scan: Scan, choice: Choice) -> list[_Moment]:
    """Spread over the images, as far as there are any, else over the clouds."""
    images, clouds = (scan.stamps.get(name or "") for name in (choice.image, choice.points))
    has_images, has_clouds = images is not None and len(images) > 0, clouds is not None and len(clouds) > 0
    if not has_images:
        logs = _spread(clouds.log_ns) if has_clouds else []
        return [_Moment(None, {0: int(log_ns)}) for log_ns in logs]
    if not has_clouds:
        return [_Moment(int(log_ns), {}) for log_ns in _spread(images.log_ns)]
    image_log_ns = images.log_ns
    order = np.argsort(clouds.header_ns, kind="stable")
    header_ns, log_ns = clouds.header_ns[order], clouds.log_ns[order]
    middle = nearest(images.header_ns, header_ns)
    period = np.median(np.diff(header_ns)) if len(header_ns) > 1 else 0
    around = middle[:, None] + np.array(SHIFTS)
    inside = (around >= 0) & (around < len(header_ns))
    around = np.clip(around, 0, len(header_ns) - 1)
    steps = header_ns[around] - header_ns[middle][:, None]
    inside &= np.abs(steps - np.array(SHIFTS) * period) <= 0.6 * period
    whole = np.flatnonzero(inside.all(axis=1) & (np.abs(header_ns[middle] - images.header_ns) <= 1.2 * period))
    chosen = _spread(whole if len(whole) else np.arange(len(images)))
    return [
        _Moment(
            int(image_log_ns[i]),
            {shift: int(log_ns[k]) for shift, k, ok in zip(SHIFTS, around[i], inside[i]) if ok or shift == 0},
        )
        for i in chosen
    ]


def _spread(values: np.ndarray) -> np.ndarray:
    """At most `MOMENTS` of the values, evenly."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(MOMENTS, len(values))).round().astype(np.int64))]
