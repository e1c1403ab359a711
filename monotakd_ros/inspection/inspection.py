"""`inspect_bag`: what can be told of a bag in seconds, as one object that goes to text, JSON and a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.data.bag_reader import KNOWN_TYPES, BagReader
from monotakd_ros.data.source import DEFAULT_OPTIONS, SourceOptions
from monotakd_ros.geometry.transforms import make_transform
from monotakd_ros.inspection.alignment import Alignment, rotation_of
from monotakd_ros.inspection.alignment_search import AlignmentReport, check_alignment
from monotakd_ros.inspection.camera_check import CameraReport, check_camera
from monotakd_ros.inspection.choice import Choice, choose
from monotakd_ros.inspection.cloud_layout import CloudLayout, merged
from monotakd_ros.inspection.findings import Finding, findings_of, verdict
from monotakd_ros.inspection.sampling import Samples, Snapshot, sample_bag
from monotakd_ros.inspection.scan import Scan, scan_bag
from monotakd_ros.inspection.stamps import TopicTiming, timing
from monotakd_ros.inspection.sync import SyncReport, sync
from monotakd_ros.inspection.transform_record import TransformRecord


@dataclass(frozen=True)
class TopicReport:
    """A topic; `timing` is None where none of its messages was read."""

    name: str
    type_name: str
    messages: int
    is_known_type: bool
    timing: TopicTiming | None


@dataclass(frozen=True)
class TransformReport:
    """tf as a tree; see `TransformRecord`."""

    drawing: tuple[str, ...]
    parts: int
    loops: tuple[tuple[str, ...], ...]
    several_parents: dict[str, list[str]]
    changed_statics: tuple[str, ...]
    bad_quaternions: int


@dataclass(frozen=True)
class Lookup:
    """Whether LiDAR points can be carried into the camera at the images' stamps.

    Attributes:
        share: of the images for which it can.
        first_missing_s: the first for which it cannot, s after the bag's start; None when there is none.
        from_file: the extrinsic comes from a calibration file.
    """

    camera_frame: str
    cloud_frame: str
    share: float
    first_missing_s: float | None
    from_file: bool


@dataclass(frozen=True)
class Inspection:
    """What is known of one bag.

    Attributes:
        path: of the bag.
        bytes: of its files.
        start_ns, end_ns: bag times.
        messages: in the bag.
        share_read: of the recorded time whose messages' heads were read.
        images_sampled, clouds_sampled: decoded.
        cuts: for each file that was cut off, where its readable part ends.
        broken: where the bag cannot be read further.
        share_in_view: median share of a cloud's points that the image shows.
        corrected_cam_T_cloud: (4, 4) extrinsic that would agree better; None where the recorded one agrees.
        snapshot: a moment for a picture.
    """

    path: str
    bytes: int
    start_ns: int
    end_ns: int
    messages: int
    share_read: float
    images_sampled: int
    clouds_sampled: int
    samples_failed: tuple[str, ...]
    cuts: tuple[str, ...]
    broken: str | None
    unreadable: dict[str, int]
    topics: tuple[TopicReport, ...]
    choice: Choice
    camera: CameraReport | None
    cloud: CloudLayout | None
    transforms: TransformReport
    lookup: Lookup | None
    sync: SyncReport | None
    share_in_view: float | None
    alignment: AlignmentReport | None
    corrected_cam_T_cloud: list[list[float]] | None
    snapshot: Snapshot | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Problems first."""
        order = ("problem", "warning", "note")
        return tuple(sorted(findings_of(self), key=lambda finding: order.index(finding.severity)))

    @property
    def verdict(self) -> str:
        """In a few words."""
        return verdict(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without the picture."""
        plain = {key: value for key, value in vars(self).items() if key != "snapshot"}
        values = {
            key: asdict(value) if hasattr(value, "__dataclass_fields__") else value for key, value in plain.items()
        }
        values["topics"] = [asdict(topic) for topic in self.topics]
        return {**values, "findings": [asdict(finding) for finding in self.findings], "verdict": self.verdict}


def inspect_bag(path: Path, options: SourceOptions = DEFAULT_OPTIONS, whole: bool = False) -> Inspection:
    """Inspect a bag.

    Args:
        path: folder or file; may be cut off.
        options: topics and tolerance, as for every other verb.
        whole: read every message's head, however large the bag is.

    Raises:
        BagError: it cannot be read at all.
        CalibrationError: the calibration file given is malformed.
    """
    reader = BagReader(path, strict=False)
    try:
        scan = scan_bag(reader, whole)
        choice = choose(reader, options)
        samples = sample_bag(reader, scan, choice, options)
        return _inspection(reader, scan, choice, samples, options)
    finally:
        reader.close()


def _inspection(reader: BagReader, scan: Scan, choice: Choice, samples: Samples, options: SourceOptions) -> Inspection:
    topics = tuple(_topic_report(reader, scan))
    alignment = check_alignment(Alignment(samples.frames)) if samples.frames else None
    none = np.zeros(0, dtype=np.int64)
    image_stamps = none if choice.image is None else scan.with_surroundings(choice.image)
    cloud_stamps = none if choice.points is None else scan.stamps[choice.points].header_ns
    return Inspection(
        path=str(reader.path),
        bytes=scan.bytes,
        start_ns=scan.start_ns,
        end_ns=scan.end_ns,
        messages=sum(topic.messages for topic in topics),
        share_read=scan.share_read,
        images_sampled=samples.images,
        clouds_sampled=samples.clouds,
        samples_failed=tuple(samples.errors),
        cuts=tuple(reader.cuts),
        broken=scan.broken,
        unreadable={name: count for name, count in scan.unreadable.items() if count},
        topics=topics,
        choice=choice,
        camera=_camera(scan, choice, samples),
        cloud=merged(samples.layouts),
        transforms=_transforms(scan.transforms, scan.bad_transforms),
        lookup=_lookup(scan, choice, image_stamps, options.calibration is not None),
        sync=sync(image_stamps, cloud_stamps, options.cloud_tolerance_s),
        share_in_view=float(np.median(samples.shares_in_view)) if samples.shares_in_view else None,
        alignment=alignment,
        corrected_cam_T_cloud=_corrected(alignment, samples.snapshot),
        snapshot=samples.snapshot,
    )


def _corrected(alignment: AlignmentReport | None, snapshot: Snapshot | None) -> list[list[float]] | None:
    if alignment is None or snapshot is None or not any(alignment.correction_deg):
        return None
    turn = make_transform(rotation_of(alignment.correction_deg), np.zeros(3))
    return (turn @ snapshot.cam_T_cloud).tolist()


def _topic_report(reader: BagReader, scan: Scan) -> list[TopicReport]:
    with_header = reader.topics_with_header
    reports = []
    for topic in sorted((*reader.topics, *reader.other_topics)):
        log = scan.stamps[topic.name]
        times = timing(log, topic.name in with_header, scan.start_ns) if len(log) else None
        reports.append(TopicReport(topic.name, topic.type_name, topic.count, topic.type_name in KNOWN_TYPES, times))
    return reports


def _camera(scan: Scan, choice: Choice, samples: Samples) -> CameraReport | None:
    if choice.image is None:
        return None
    infos = scan.camera_infos.get(choice.camera_info or "", [])
    size = samples.image_sizes[0] if samples.image_sizes else None
    frames = scan.frame_ids.get(choice.image, {})
    return check_camera(infos, size, frames, choice.image_is_rectified, choice.image)


def _transforms(record: TransformRecord, bad_quaternions: int) -> TransformReport:
    loops = record.loops
    return TransformReport(
        drawing=tuple(record.drawing()),
        parts=len(record.roots) + len(loops),
        loops=tuple(tuple(circle) for circle in loops),
        several_parents=record.several_parents,
        changed_statics=tuple(f"{e.parent} -> {e.child}" for e in record.edges if e.is_static and e.changes),
        bad_quaternions=bad_quaternions,
    )


def _lookup(scan: Scan, choice: Choice, image_stamps: np.ndarray, from_file: bool) -> Lookup | None:
    frames = [scan.frame_ids.get(name or "") for name in (choice.image, choice.points)]
    if not all(frames) or not len(image_stamps):
        return None
    camera_frame, cloud_frame = (max(names, key=lambda name: names[name]) for names in frames)
    if from_file:
        return Lookup(camera_frame, cloud_frame, 1.0, None, from_file)
    known = scan.transforms.available(camera_frame, cloud_frame, image_stamps)
    missing = np.flatnonzero(~known)
    first = (int(image_stamps[missing[0]]) - scan.start_ns) / 1e9 if len(missing) else None
    return Lookup(camera_frame, cloud_frame, float(known.mean()), first, from_file)
