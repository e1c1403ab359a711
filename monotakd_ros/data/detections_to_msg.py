"""Detections as ROS messages: vision_msgs/Detection3DArray, LabelInfo, and markers for RViz.

Everything is in the camera's optical frame (the image's `frame_id`) unless another frame's pose is given, stamped with
the image's time. A box keeps its meaning: BoundingBox3D's x axis is the heading, its z axis the object's up, its centre
the geometric one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from monotakd_ros.data.to_msg import NS_PER_S, MessageBuilder
from monotakd_ros.frame import Detections3D, Labels3D
from monotakd_ros.geometry.boxes import BOX_EDGES, corners_from_boxes
from monotakd_ros.geometry.transforms import rotation_about_z, transform_points

ORIENTATION_VARIANCE = (0.0025, 0.04, 0.0025)
"""rad^2 about the camera's x, y, z: the heading (about y, down) to 0.2 rad, roll and pitch are not estimated but small
on a road (0.05 rad). Nominal: the network predicts no spread of angles."""

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""
ColourOf = Callable[[str], Colour]
"""Class name -> colour."""

IN_CAMERA = np.eye(4)
"""`frame_T_cam` of messages in the image's own frame."""

_CUBE, _LINE_LIST, _TEXT = 1, 5, 9
_ADD, _DELETE_ALL = 0, 3


class DetectionMessages(MessageBuilder):
    """Builds messages from detections; beside its base class's messages."""

    def detections(
        self, detections: Detections3D, stamp_ns: int, frame_id: str, frame_T_cam: np.ndarray = IN_CAMERA
    ) -> Any:
        """vision_msgs/Detection3DArray; empty for no detections.

        Args:
            detections: boxes in lidar, carried into the camera with their own `cam_T_lidar`.
            stamp_ns: of the image.
            frame_id: of the image, or of another frame that boxes shall stand in.
            frame_T_cam: (4, 4) from the image's frame into that one.
        """
        header = self.header(stamp_ns, frame_id)
        names, messages = detections.names, []
        for index, (center, rotation) in enumerate(poses_in(frame_T_cam, detections)):
            box = self.box(center, rotation, detections.boxes_lidar[index, 3:6])
            covariance = pose_covariance_in(frame_T_cam, detections.covariance_lidar[index], detections.cam_T_lidar)
            score = detections.scores[index]
            messages.append(self.detection(header, names[index], score, box, covariance))
        return self.make("vision_msgs/msg/Detection3DArray", header=header, detections=messages)

    def label_info(self, class_names: tuple[str, ...], threshold: float, stamp_ns: int, frame_id: str) -> Any:
        """vision_msgs/LabelInfo: the detector's classes and its score threshold."""
        class_map = [
            self.make("vision_msgs/msg/VisionClass", class_id=index, class_name=name)
            for index, name in enumerate(class_names)
        ]
        header = self.header(stamp_ns, frame_id)
        return self.make("vision_msgs/msg/LabelInfo", header=header, class_map=class_map, threshold=float(threshold))

    def markers(
        self,
        detections: Detections3D,
        stamp_ns: int,
        frame_id: str,
        colour_of: ColourOf,
        lifetime_s: float = 0.25,
        with_scores: bool = True,
        frame_T_cam: np.ndarray = IN_CAMERA,
    ) -> Any:
        """visualization_msgs/MarkerArray: first a DELETEALL, then per box a cube, its edges, and a text.

        Args:
            detections: as in `detections`.
            stamp_ns: as in `detections`.
            frame_id: as in `detections`.
            colour_of: colour of each class.
            lifetime_s: how long boxes stay when nothing follows, about two frames; 0: until something does.
            with_scores: whether the texts tell them.
            frame_T_cam: as in `detections`.
        """
        header = self.header(stamp_ns, frame_id)
        lifetime = self.make(
            "builtin_interfaces/msg/Duration", sec=int(lifetime_s), nanosec=int(lifetime_s % 1 * NS_PER_S)
        )
        markers = self.no_markers(stamp_ns, frame_id).markers
        frame_T_lidar = frame_T_cam @ detections.cam_T_lidar
        corners = corners_from_boxes(detections.boxes_lidar).reshape(-1, 3)
        corners = transform_points(frame_T_lidar, corners).reshape(-1, 8, 3)
        centers_cam = transform_points(detections.cam_T_lidar, np.asarray(detections.boxes_lidar[:, :3], np.float64))
        for index, (name, (center, rotation)) in enumerate(zip(detections.names, poses_in(frame_T_cam, detections))):
            colour = colour_of(name)
            common = {"header": header, "id": index, "action": _ADD, "lifetime": lifetime}
            size = detections.boxes_lidar[index, 3:6]
            markers.append(self._cube(common, colour, center, rotation, size))
            markers.append(self._edges(common, colour, corners[index]))
            score = f" {detections.scores[index]:.2f}" if with_scores else ""
            text = f"{name}{score} {np.linalg.norm(centers_cam[index]):.1f} m"
            top = center + rotation @ np.array([0.0, 0.0, 0.5 * size[2] + 0.4])
            markers.append(self._text(common, colour, text, top))
        return self.make("visualization_msgs/msg/MarkerArray", markers=markers)

    def no_markers(self, stamp_ns: int, frame_id: str) -> Any:
        """visualization_msgs/MarkerArray that takes all earlier markers of its topic away."""
        header = self.header(stamp_ns, frame_id)
        delete_all = self.make(
            "visualization_msgs/msg/Marker", header=header, action=_DELETE_ALL, pose=self.pose(np.zeros(3), np.eye(3))
        )
        return self.make("visualization_msgs/msg/MarkerArray", markers=[delete_all])

    def _color(self, colour: Colour, alpha: float) -> Any:
        red, green, blue = (part / 255 for part in colour)
        return self.make("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=alpha)

    def _cube(self, common: dict[str, Any], colour: Colour, center: np.ndarray, rotation: np.ndarray, size: Any) -> Any:
        return self.make(
            "visualization_msgs/msg/Marker",
            **common,
            ns="boxes",
            type=_CUBE,
            pose=self.pose(center, rotation),
            scale=self.vector(size),
            color=self._color(colour, 0.3),
        )

    def _edges(self, common: dict[str, Any], colour: Colour, corners: np.ndarray) -> Any:
        return self.make(
            "visualization_msgs/msg/Marker",
            **common,
            ns="edges",
            type=_LINE_LIST,
            pose=self.pose(np.zeros(3), np.eye(3)),
            scale=self.vector(np.array([0.05, 0.0, 0.0])),
            color=self._color(colour, 1.0),
            points=[self.point(corners[corner]) for edge in BOX_EDGES for corner in edge],
        )

    def _text(self, common: dict[str, Any], colour: Colour, text: str, position: np.ndarray) -> Any:
        return self.make(
            "visualization_msgs/msg/Marker",
            **common,
            ns="texts",
            type=_TEXT,
            pose=self.pose(position, np.eye(3)),
            scale=self.vector(np.array([0.0, 0.0, 0.6])),
            color=self._color(colour, 1.0),
            text=text,
        )


def detections_from_labels(labels: Labels3D, cam_T_lidar: np.ndarray) -> Detections3D:
    """Labels as if they had been found: with score 1 where they have none, their covariance unknown (zero)."""
    class_names = tuple(dict.fromkeys(labels.class_names))
    scores = np.ones(len(labels)) if labels.scores is None else labels.scores
    return Detections3D(
        boxes_lidar=labels.boxes_lidar.astype(np.float32),
        scores=scores.astype(np.float32),
        labels=np.array([class_names.index(name) for name in labels.class_names], dtype=np.int64),
        class_names=class_names,
        covariance_lidar=np.zeros((len(labels), 3, 3), dtype=np.float32),
        cam_T_lidar=cam_T_lidar,
    )


def poses_in(frame_T_cam: np.ndarray, detections: Detections3D) -> list[tuple[np.ndarray, np.ndarray]]:
    """Centre (3,) and axes (3, 3) of each box in a frame: R_frame_lidar Rz(heading)."""
    boxes = np.asarray(detections.boxes_lidar, dtype=np.float64)
    frame_T_lidar = frame_T_cam @ detections.cam_T_lidar
    centers = transform_points(frame_T_lidar, boxes[:, :3])
    return [(center, frame_T_lidar[:3, :3] @ rotation_about_z(box[6])) for center, box in zip(centers, boxes)]


def pose_covariance_in(frame_T_cam: np.ndarray, covariance_lidar: np.ndarray, cam_T_lidar: np.ndarray) -> np.ndarray:
    """(6, 6) covariance of position and rotation about x, y, z (REP-103) in a frame, from (3, 3) m^2 in lidar."""
    frame_R_cam = frame_T_cam[:3, :3]
    frame_R_lidar = frame_R_cam @ cam_T_lidar[:3, :3]
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = frame_R_lidar @ np.asarray(covariance_lidar, dtype=np.float64) @ frame_R_lidar.T
    covariance[3:, 3:] = frame_R_cam @ np.diag(ORIENTATION_VARIANCE) @ frame_R_cam.T
    return covariance
