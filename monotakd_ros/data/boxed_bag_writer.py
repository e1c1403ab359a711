"""A bag to look at in RViz and Foxglove: frames with all their boxes, a topic and markers for each kind.

It is a bag as `bag_writer.py` makes it, with JPEG images, so that every reader of bags takes it. Recordings of one set
may have been made at the same time, or be given in any order; a bag's time rises: a recording that would begin before
the last one ended is moved behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from monotakd_ros.atomic import output_errors
from monotakd_ros.data.bag_writer import GROUND_TRUTH_TOPIC, BagFrameWriter
from monotakd_ros.data.detections_to_msg import ColourOf, detections_from_labels
from monotakd_ros.data.frame_writers import interrupts_deferred
from monotakd_ros.frame import BoxedFrame, BoxKind, Frame, Labels3D
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar

BOX_TOPICS: Mapping[BoxKind, str] = MappingProxyType(
    {
        "labels": "/labels",
        "uncertain": "/uncertain",
        "teacher": "/teacher",
        "assistant": "/assistant",
        "truth": GROUND_TRUTH_TOPIC,
    }
)
PAUSE_NS = 1_000_000_000
"""Between two recordings of which one was moved."""


class BoxedBagWriter(BagFrameWriter):
    """Writes frames and their boxes; use as a context manager.

    Args:
        out: the bag; must not exist unless `overwrite`.
        overwrite: whether an existing bag is replaced.
        colours: colour of a kind's boxes by class, for the markers.
    """

    def __init__(self, out: Path | str, overwrite: bool, colours: Callable[[BoxKind], ColourOf]) -> None:
        super().__init__(out, overwrite, "jpeg")
        self._colours = colours
        self._shift_ns = 0
        self._last_ns: int | None = None

    def write_boxed(self, boxed: BoxedFrame) -> None:
        """Add one frame with its boxes.

        Raises:
            OutputError: the disk is full, or the place cannot be written.
        """
        with output_errors(self.path), interrupts_deferred():
            frame = self._behind_the_last(boxed.frame)
            self._write(frame)
            for kind, boxes in boxed.boxes.items():
                self._write_boxes(kind, boxes, frame)
            self.count += 1

    def _behind_the_last(self, frame: Frame) -> Frame:
        if self._last_ns is not None and frame.stamp_ns + self._shift_ns <= self._last_ns:
            self._shift_ns = self._last_ns + PAUSE_NS - frame.stamp_ns
        self._last_ns = frame.stamp_ns + self._shift_ns
        points_stamp_ns = None if frame.points_stamp_ns is None else frame.points_stamp_ns + self._shift_ns
        return replace(frame, stamp_ns=self._last_ns, points_stamp_ns=points_stamp_ns, labels=None)

    def _write_boxes(self, kind: BoxKind, boxes: Labels3D, frame: Frame) -> None:
        topic, stamp_ns = BOX_TOPICS[kind], frame.stamp_ns
        self._bag.write(topic, self._messages.ground_truth(boxes, stamp_ns, frame.lidar_frame_id), stamp_ns)
        cam_T_lidar = nominal_cam_T_lidar() if frame.cam_T_lidar is None else frame.cam_T_lidar
        markers = self._messages.markers(
            detections_from_labels(boxes, cam_T_lidar),
            stamp_ns,
            frame.camera_frame_id,
            self._colours(kind),
            lifetime_s=0.0,
            with_scores=boxes.scores is not None,
        )
        self._bag.write(f"{topic}/markers", markers, stamp_ns)
