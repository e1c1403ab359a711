"""Ground truth for recorded boxes, wherever it lies: a source of frames, a topic of boxes, or bare label files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monotakd_ros.data.bag_reader import BagReader, BagTopic
from monotakd_ros.data.bag_topics import choose_ground_truth_option, has_images
from monotakd_ros.data.kitti import find_kitti_subset, has_recorded_stamps, read_labels
from monotakd_ros.data.kitti_raw import LABEL_FOLDER, find_raw_drives
from monotakd_ros.data.recorded_boxes import BoxRecording, RecordedCamera, read_ground_truth_boxes
from monotakd_ros.data.source import SourceOptions, find_frames, is_bag, open_source
from monotakd_ros.errors import BagError, SourceError
from monotakd_ros.evaluation.kitti_frame import kitti_frame_from_labels
from monotakd_ros.frame import Frame, KittiFrame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.report.both_sides import warnings_about_recording
from monotakd_ros.report.box_placing import Transforms, truth_of
from monotakd_ros.report.gathered import Scenes, no_scenes
from monotakd_ros.report.kitti_folders import find_labels


class LabelledFrame(NamedTuple):
    """One frame of the ground truth.

    Attributes:
        name: as the source gives it.
        stamp_ns: time of the frame, ns.
        camera: the image's.
        camera_frame_ids: tf names that the frame `cam` may have, the likeliest first.
        cam_T_lidar: (4, 4) of the frame in which boxes stand upright.
        lidar_frame_id: its tf name; empty for a virtual one.
        truth: in KITTI's encoding; None when the frame has no labels.
    """

    name: str
    stamp_ns: int
    camera: CameraModel
    camera_frame_ids: tuple[str, ...]
    cam_T_lidar: np.ndarray
    lidar_frame_id: str
    truth: KittiFrame | None


@dataclass(frozen=True, eq=False)
class LabelSide:
    """The ground truth.

    Attributes:
        name: of the source.
        path: of the source.
        frames: rising stamps.
        has_stamps: whether these were recorded, or made up as for original KITTI folders.
        ground_truth_topic: topic of the boxes, where they come from one.
        skipped: reasons of frames that could not be read.
        warnings: sentences for the report.
        scenes: images of the frames.
    """

    name: str
    path: Path
    frames: tuple[LabelledFrame, ...]
    has_stamps: bool = True
    ground_truth_topic: str | None = None
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    scenes: Scenes = no_scenes


def read_label_side(
    labels: Path, detections: BoxRecording, class_map: Mapping[str, str], options: SourceOptions
) -> LabelSide:
    """Find out what `labels` is and read it.

    Args:
        labels: a source of frames with labels; its `label_2`; a bag with a ground-truth topic but no images; or a
            folder of label files, one per array of the detections, in the same order.
        detections: what is compared with it; its bag may hold camera and tf.
        class_map: class names or ids of a ground-truth topic -> KITTI types.
        options: topics where a bag has several.

    Raises:
        SourceError: missing, none of these, or without labels.
        BagError: topics are missing or ambiguous, or tf does not place the boxes.
        LabelError: a label file is malformed.
    """
    if not labels.exists():
        raise SourceError(f"{labels}: no such file or folder")
    for path in (labels, labels.parent) if labels.name in ("label_2", LABEL_FOLDER) else (labels,):
        if _is_source(path, options):
            wanted = replace(options, label_dir=labels) if path != labels and is_bag(path) else options
            return _from_source(path, detections, wanted)
    if is_bag(labels):
        return _from_topic(labels, detections, class_map, options)
    folder = find_labels(labels) if labels.is_dir() else None
    if folder is None:
        raise SourceError(
            f"{labels}: expected a source with images and labels (a bag, a KITTI folder or raw drive), a bag with a "
            "ground-truth topic, or a folder of label files NAME.txt"
        )
    return _from_files(folder, detections, options)


def _is_source(path: Path, options: SourceOptions) -> bool:
    if is_bag(path):
        return has_images(_topics(path))
    return path.is_dir() and bool(find_kitti_subset(path, options.split) or find_raw_drives(path))


def _topics(path: Path) -> list[BagTopic]:
    with closing(BagReader(path)) as reader:
        return reader.topics


def _from_source(path: Path, detections: BoxRecording, options: SourceOptions) -> LabelSide:
    if is_bag(path) and _is_same_bag(path, detections.path):
        topic = choose_ground_truth_option(_topics(path), options.ground_truth_topic, path, detections.topic)
        options = replace(options, ground_truth_topic=topic)
    skipped: list[str] = []
    with closing(open_source(path, options)) as source:
        # A folder cannot know how tf calls its camera; the bag that was recorded with it can.
        fallback = () if is_bag(path) or detections.camera is None else (detections.camera.frame_id,)
        frames = [_of_frame(frame, fallback) for frame in source.frames(lambda error: skipped.append(str(error)))]
        if not any(frame.truth is not None for frame in frames):
            raise SourceError(f"{path}: none of its {len(frames)} frames has labels")
        return LabelSide(
            name=source.name,
            path=path,
            frames=tuple(sorted(frames, key=lambda frame: frame.stamp_ns)),
            has_stamps=has_recorded_stamps(source),
            ground_truth_topic=options.ground_truth_topic,
            skipped=tuple(skipped),
            scenes=_scenes_of(path, options),
        )


def _of_frame(frame: Frame, fallback: tuple[str, ...]) -> LabelledFrame:
    cam_T_lidar = nominal_cam_T_lidar() if frame.cam_T_lidar is None else frame.cam_T_lidar
    return LabelledFrame(
        name=frame.name,
        stamp_ns=frame.stamp_ns,
        camera=frame.camera,
        camera_frame_ids=(frame.camera_frame_id, *fallback),
        cam_T_lidar=cam_T_lidar,
        lidar_frame_id="" if frame.cam_T_lidar is None else frame.lidar_frame_id,
        truth=None if frame.labels is None else kitti_frame_from_labels(frame.labels, frame.camera, cam_T_lidar),
    )


def _scenes_of(path: Path, options: SourceOptions) -> Scenes:
    def scenes(names: Collection[str]) -> Mapping[str, Frame]:
        with closing(open_source(path, options)) as again:
            return find_frames(again, names)

    return scenes


def _from_topic(
    path: Path, detections: BoxRecording, class_map: Mapping[str, str], options: SourceOptions
) -> LabelSide:
    other = detections.topic if _is_same_bag(path, detections.path) else None
    recording = read_ground_truth_boxes(path, options.ground_truth_topic, class_map, options.camera_info_topic, other)
    camera = _camera_of((recording, detections))
    transforms = Transforms(recording.geometry, (path, detections.path))
    cam_T_lidar, frames = nominal_cam_T_lidar(), []
    for index, array in enumerate(recording.arrays):
        where = f"{path}: topic {recording.topic}, stamp {array.stamp_ns} ns"
        model = camera.at(array.stamp_ns)
        to_camera = transforms.to_camera((camera.frame_id,), array.stamp_ns, where)
        truth = truth_of(array, model, cam_T_lidar, to_camera, where)
        frames.append(LabelledFrame(f"{index:06d}", array.stamp_ns, model, (camera.frame_id,), cam_T_lidar, "", truth))
    return LabelSide(
        name=path.resolve().stem,
        path=path,
        frames=tuple(frames),
        ground_truth_topic=recording.topic,
        skipped=recording.unreadable,
        warnings=tuple(warnings_about_recording(recording, "ground-truth boxes")),
    )


def _from_files(folder: Path, detections: BoxRecording, options: SourceOptions) -> LabelSide:
    files = sorted(folder.glob("*.txt"), key=lambda file: (len(file.stem), file.stem))
    if len(files) != len(detections.arrays):
        raise SourceError(
            f"{folder}: holds {len(files)} label files, but {detections.path} {len(detections.arrays)} arrays on "
            f"{detections.topic}: files without stamps are matched by order, which takes one for each array. Give the "
            "source that the labels belong to"
        )
    camera, cam_T_lidar = _camera_of((detections,)), nominal_cam_T_lidar()
    frames = []
    for file, array in zip(files, detections.arrays):
        model = camera.at(array.stamp_ns)
        truth = kitti_frame_from_labels(read_labels(file, cam_T_lidar) or Labels3D.empty(), model, cam_T_lidar)
        frames.append(LabelledFrame(file.stem, array.stamp_ns, model, (camera.frame_id,), cam_T_lidar, "", truth))
    matched = f"label files are matched with arrays by order: {files[0].name} is the one at {frames[0].stamp_ns} ns"
    return LabelSide(name=folder.resolve().name, path=folder, frames=tuple(frames), warnings=(matched,))


def _camera_of(recordings: tuple[BoxRecording, ...]) -> RecordedCamera:
    """The first that is known.

    Raises:
        BagError: none is, or several could be meant.
    """
    for recording in recordings:
        if recording.camera is not None:
            return recording.camera
    places = " and ".join(dict.fromkeys(str(recording.path) for recording in recordings))
    topics = sorted({topic for recording in recordings for topic in recording.camera_topics})
    if topics:
        raise BagError(f"{places}: several cameras, choose one with --camera-info-topic: {', '.join(topics)}")
    raise BagError(f"{places}: expected a CameraInfo topic with messages: 2D boxes need the camera; found none")


def _is_same_bag(a: Path, b: Path) -> bool:
    """Whether two paths are a bag, or a bag and its storage file."""
    a, b = a.resolve(), b.resolve()
    return a == b or a in b.parents or b in a.parents
